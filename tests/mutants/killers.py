"""What a mutant has to survive: tests and claims, run in a process of their own, and told as plain data.

The outcome of a killer is "passed", "caught", or a text that says what else happened. A test catches a mutant when it ends in
an AssertionError, or in the failure by which ``pytest.raises`` says that nothing was refused; a claim, when it was run and its
row is not consistent. Any other error may come from anywhere, so it does not count.
"""

import importlib
import os

SEEDS = (300, 301)
TIMES = (0.9, 1.1)  # what a prediction is multiplied by


def seen(nodes: list[str]) -> dict[str, str]:
    """Run tests. nodes: of pytest, of one file or more. Returns node -> outcome; a node without brackets is all of its cases."""
    import pytest

    watch = Watch()
    options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "xdist", "--rootdir", os.getcwd()]
    code = pytest.main([*nodes, *options], plugins=[watch])
    if code == pytest.ExitCode.USAGE_ERROR and len(nodes) > 1:  # one that does not exist is not to hide the others
        return {node: outcome for one in nodes for node, outcome in seen([one]).items()}
    outcomes = {}
    for node in nodes:
        own = [told for name, told in watch.told.items() if name == node or name.startswith(node + "[")]
        other = [told for told in own if told not in ("passed", "caught")]
        lost = watch.lost or [f"pytest ended with {code}, without this test"]
        outcomes[node] = other[0] if other else lost[0] if not own else "caught" if "caught" in own else "passed"
    return outcomes


class Watch:
    """A plugin of pytest that notes how each test ended."""

    def __init__(self):
        self.told, self.lost = {}, []

    def pytest_runtest_makereport(self, item, call):
        """One phase of one test."""
        import pytest

        if call.excinfo is not None:
            fair = call.excinfo.errisinstance((AssertionError, pytest.fail.Exception)) and call.when == "call"
            said = str(call.excinfo.value).splitlines()
            self.told[item.nodeid] = "caught" if fair else f"{call.excinfo.typename}: {said[0] if said else ''}"
        elif call.when == "call":
            self.told[item.nodeid] = "passed"

    def pytest_collectreport(self, report):
        """A file that could not be read."""
        if report.failed:
            self.lost.append(str(report.longrepr).splitlines()[-1])


def judged(ids: list[str]) -> dict[str, str]:
    """Run claims of one chapter and their controls. ids: of the claims. Returns id -> outcome."""
    from attnflow import claims
    from attnflow.rooms import room

    known = {claim.id: claim for claim in room(ids[0].partition(".")[0]).claims}
    outcomes = {}
    for name in ids:
        try:
            outcomes[name] = "passed" if claims.evaluate(known[name], SEEDS, "cpu").consistent else "caught"
        except Exception as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
    return outcomes


def killer(node: str) -> str:
    """The outcome of one killer: a ``node`` of pytest or the id of a claim."""
    return (seen if "::" in node else judged)([node])[node]


def sections() -> dict[str, tuple[str, dict[str, bool]]]:
    """All sections of the book: module -> (chapter, claim id -> whether a number is predicted), in reading order."""
    from attnflow.rooms import rooms

    return {
        module.__name__: (room.name, {claim.id: predicts(claim) for claim in module.CLAIMS})
        for room in rooms().values()
        for module in room.modules
    }


def predicts(claim: object) -> bool:
    """Whether a ``claim`` has a prediction that it says to meet; an observation that is shown beside one does not."""
    stated = claim.testable and claim.state.startswith("reproduced")
    return stated and claim.trial.predict is not None and claim.trial.kind != "observation"


def unchanged(module: str, ids: list[str], factored: list[str]) -> tuple[dict[str, str], dict[str, dict[float, bool]]]:
    """A section as it is, in one process, since its claims share experiments.

    module: of the section; ids: claims to judge; factored: claims whose predictions are multiplied. Returns the outcomes of the
    former, and id -> factor -> whether the claim still holds for the latter, of which factor 1 is the prediction itself.
    """
    known = {claim.id: claim for claim in importlib.import_module(module).CLAIMS}
    still = {name: holding(known[name].trial) for name in factored}
    return judged(ids) if ids else {}, still


def holding(trial: object) -> dict[float, bool]:
    """Whether a ``trial`` holds with its prediction times 1, 0.9 and 1.1; what was measured stays. Returns factor -> bool."""
    import numpy as np

    from attnflow.claims import enough

    measured, predicted = trial.numbers(SEEDS, "cpu")
    predicted = np.asarray(predicted, dtype=float)
    return {times: enough(trial.holds.margin(measured, predicted * times) >= 0, trial.quota) for times in (1.0, *TIMES)}
