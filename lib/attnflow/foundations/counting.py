"""Are these all laws? Counts of chapter 1, each beside the number that is known."""

from collections.abc import Callable, Sequence

from attnflow import door, runs
from attnflow.claims import Control, kinds
from attnflow.foundations.balancing import claim, known
from attnflow.foundations.cases import CHANGES, Case, altered, attention, neurons, product


def listed() -> list[Case]:
    """The list of the chapter, small enough to count in seconds."""
    return [
        product(3, 4, 2),
        product(2, 2, 6),
        neurons(3, 4),
        neurons(3, 4, "tanh"),
        neurons(3, 4, "gelu"),
        attention(3, 2, 2),
        attention(3, 2, 2, common=True),
        attention(3, 2, 2, kernel="gaussian"),
        attention(3, 2, 2, kernel="gaussian", common=True),
        *(altered(change, k=4 if change == "rotary positions" else 2) for change in CHANGES),
    ]


FOUND = {"size": door.COUNT, "rank_gradients": door.INDEX, "rank": door.INDEX, "laws": door.INDEX}


@door.takes(counts=door.several(door.together(Case, FOUND)))
def table(counts: Sequence[tuple[Case, dict]]) -> str:
    """Pairs of a case and its count, ``counts``, as a Markdown table: sizes, ranks, the bound, and what is known."""
    lines = [
        "| model | parameters | rank of gradients | with brackets | bound | known | source |",
        "|---|" + "---|" * 6,
    ]
    for case, found in counts:
        verdict = "complete" if found["laws"] == case.known else "**not met**"
        lines.append(
            "| {} | {} | {} | {} | {} | {}, {} | {} |".format(
                case.title,
                *(found[name] for name in FOUND),
                case.known,
                verdict,
                case.source,
            )
        )
    return "\n".join(lines)


def _made(build, sizes):
    """The case of a function that makes it; its sizes are checked at its own door."""
    return runs.check("build", build, "a function that makes a case", callable(build))(**sizes)


def bound(build: Callable[..., Case], **sizes) -> int:
    """The upper bound on the number of laws of one case. build: makes it from its ``sizes``."""
    return _made(build, sizes).count()["laws"]


def counted(build: Callable[..., Case], title: str, broken: dict, **sizes) -> tuple:
    """Trial and control of a claim that the bound of a case is the known number.

    build, sizes: of the case; title: of the control, with the sizes that are ``broken``.
    """
    known, ok = _made(build, sizes).known, isinstance(broken, dict) and bool(broken)
    runs.check("broken", broken, "a dict, size or option -> another value, that is not empty", ok)
    return kinds.count(bound, known, build=build, **sizes), Control(title, broken)


CLAIMS = (
    known(
        "count-product",
        "A product has no other laws",
        r"$AB^\top$ with 3 + 4 rows and width 2: at most as many laws as the $k(k+1)/2 = 3$ of its balance.",
        *counted(product, "a skip path that uses one factor again", {"skip": True}, rows=3, columns=4, width=2),
        cite=("marcotte2023abide",),
    ),
    known(
        "count-neurons",
        "ReLU neurons have one law each",
        "Four ReLU neurons on three inputs: at most the four laws that are known.",
        *counted(neurons, "tanh in place of ReLU", {"activation": "tanh"}, d=3, width=4),
        cite=("marcotte2023abide",),
    ),
    known(
        "count-attention",
        "One head of softmax attention has no other laws",
        r"With $d=3$, $k=2$ and $L=3$ tokens a head has at most the 3 laws of $W_Q, W_K$ and the 3 of $W_V, W_O$.",
        *counted(
            attention,
            "Gaussian attention, where only the 3 of $W_V, W_O$ remain",
            {"kernel": "gaussian"},
            d=3,
            k=2,
            o=2,
        ),
        cite=("marcotte2025transformative",),
    ),
    claim(
        "count-shift",
        "A common feature adds k laws",
        r"When $Xw = 1$ on all tokens the same head has at most $k = 2$ more, the entries of $w^\top W_K$.",
        *counted(attention, "tokens without a common feature", {"common": False}, d=3, k=2, o=2, common=True),
        cite=("marcotte2025transformative",),
    ),
)
