r"""A claim: a statement that a number can contradict, with a control that must fail.

One object renders the box in the chapter, gives the dashed line of a figure, is a test, and is a row of the ledger.
"""

from attnflow.claims import kinds
from attnflow.claims.box import table
from attnflow.claims.claim import Claim, Control, Trial, chapter_of
from attnflow.claims.criteria import Above, Below, Between, Criterion, Exactly, Near, show
from attnflow.claims.evaluation import Verdicts, evaluate, evaluate_all, settled
from attnflow.claims.experiment import Derivation, Experiment, forget
from attnflow.claims.quota import enough
from attnflow.claims.row import Row

__all__ = [
    "Above",
    "Below",
    "Between",
    "Claim",
    "Control",
    "Criterion",
    "Derivation",
    "Exactly",
    "Experiment",
    "Near",
    "Row",
    "Trial",
    "Verdicts",
    "chapter_of",
    "enough",
    "evaluate",
    "evaluate_all",
    "forget",
    "kinds",
    "settled",
    "show",
    "table",
]
