"""Claims run on seeds: the numbers of a trial and of its control, and the verdict on both."""

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from attnflow import flow, runs
from attnflow.claims.claim import CHUNK, Claim, joined
from attnflow.claims.experiment import forget
from attnflow.claims.quota import counted, enough
from attnflow.claims.row import Row, blank


@contextmanager
def warned() -> Iterator[None]:
    """Let a warning be a warning inside a ``with``, or a function so decorated: it is shown, and ends no run.

    Filters that make an error of a warning, those of ``python -W error`` for example, are taken as "default"; all others stay.
    """
    filters = list(warnings.filters)
    if "error" not in {action for action, *_ in filters}:
        yield
        return
    with warnings.catch_warnings():
        for action, text, category, module, line in reversed(filters):
            known = [getattr(pattern, "pattern", pattern) or "" for pattern in (text, module)]
            warnings.filterwarnings("default" if action == "error" else action, known[0], category, known[1], line)
        yield


@warned()
def evaluate(claim: Claim, seeds: Sequence[int], device: object = None) -> Row:
    """Run a ``claim`` and its control on fresh ``seeds``, on a ``device``. Returns a Row.

    A number that is NaN neither makes a claim hold nor a control fail.
    """
    _asked([claim], seeds, device)
    if not claim.testable:
        return blank(claim)
    began = time.perf_counter()
    trials = (claim.trial, claim.control.of(claim.trial))
    with flow.noted() as ran:
        found = [trial.numbers(tuple(seeds), device) for trial in trials]
    return settled(claim, found, time.perf_counter() - began, ran)


def settled(claim: Claim, found: list[tuple], seconds: float, ran: Iterable[str] = ()) -> Row:
    """The row of a ``claim``, from what was ``found``, (measured, predicted) of its trial and of its control, in ``seconds``.

    ran: the engines that took the steps.
    """
    trial, broken = claim.trial, claim.control.of(claim.trial)
    (measured, predicted), (control_measured, expected) = found
    margin = trial.holds.margin(measured, predicted)
    excess = broken.holds.margin(control_measured, expected)
    one = None if predicted is None or not np.isfinite(predicted).any() else float(np.nanmean(predicted))
    beside = [trial.holds.beside(measured, predicted, one), broken.holds.beside(control_measured, expected, one)]
    apart = zip(beside, (measured, control_measured), strict=True)
    moved = not all(np.allclose(*pair, atol=0, equal_nan=True) for pair in apart)
    if predicted is not None:
        predicted = tuple(predicted.tolist()) if np.ptp(predicted) else float(predicted[0])
    return blank(
        claim,
        predicted=predicted,
        accepted=tuple(map(float, trial.holds.accepted(one))),
        dots=tuple(tuple(each.tolist()) for each in beside) if moved else (),
        measured=tuple(measured.tolist()),
        shown=trial.holds.show(measured.tolist()),
        margin=float(np.min(margin)),
        tightness=trial.holds.tightness(measured, predicted),
        holds=enough(margin >= 0, trial.quota),
        good=counted(margin >= 0, trial.quota),
        control_measured=tuple(control_measured.tolist()),
        control_shown=broken.holds.show(control_measured.tolist()),
        control_fails=enough(excess < 0, broken.quota),
        control_good=counted(excess < 0, broken.quota),
        seconds=round(seconds, 2),
        engine=", ".join(sorted(ran)),
    )


def evaluate_all(
    claims: Sequence[Claim], seeds: Sequence[int], device: object = None, more: Sequence[int] = ()
) -> Iterator[Row]:
    """Rows of ``claims`` on ``seeds``, on a ``device``, one after the other; a claim that fails to run says so in its row.

    more: further seeds for trials and controls with a quota. More seeds than one stack holds are taken stack by stack through all
    claims, so that the records of one stack are all that is kept at a time; the rows then come together at the end, and a bar
    shows how far the work is.
    """
    _asked(claims, seeds, device)
    runs.check("more", more, "a list of seeds", isinstance(more, Sequence))
    if more:
        runs.replicas(more, 1)
    parts = {claim.id: ([], [], [0.0], [], set()) for claim in claims}
    stacks, further = (
        [tuple(some[start : start + CHUNK]) for start in range(0, len(some), CHUNK)] for some in (seeds, more)
    )
    for place, stack in enumerate(tqdm(stacks, desc="stacks of seeds", disable=None if len(stacks) > 1 else True)):
        for claim in claims:
            _measure(claim, stack, device, parts[claim.id], first=place == 0)
            if place == len(stacks) - 1:
                for each in further:
                    _measure(claim, each, device, parts[claim.id], further=True)
            if len(stacks) == 1:
                yield _finished(claim, parts[claim.id])
        forget()
    if len(stacks) > 1:
        yield from (_finished(claim, parts[claim.id]) for claim in claims)


class Verdicts(Mapping):
    """The rows of some claims on some seeds, each run when it is first asked for and kept: name -> Row, without the chapter.

    claims: of one chapter; seeds, device: of the runs.
    """

    def __init__(self, claims: Sequence[Claim], seeds: Sequence[int], device: object = None):
        self._claims, self._seeds, self._device = {claim.name: claim for claim in claims}, tuple(seeds), device
        self._rows = {}

    def __getitem__(self, name):
        if name not in self._rows:
            self._rows[name] = evaluate(self._claims[name], self._seeds, self._device)
        return self._rows[name]

    def __iter__(self):
        return iter(self._claims)

    def __len__(self):
        return len(self._claims)


@warned()
def _asked(claims, seeds, device):
    """Check what is to be run. The library is not told that it is inside: an experiment may be the caller's own."""
    known = isinstance(claims, (list, tuple)) and all(isinstance(claim, Claim) for claim in claims)
    runs.check("claims", claims, "a list of Claim", known)
    runs.replicas(seeds, 1)
    runs.device(device)


@warned()
def _measure(claim, stack, device, part, first=False, further=False):
    """Add what one stack of seeds says of a claim and its control; a ``further`` one, of what has a quota alone."""
    own, control, seconds, errors, ran = part
    if not claim.testable or errors:
        return
    began = time.perf_counter()
    try:
        with flow.noted() as names:
            for trial, found in ((claim.trial, own), (claim.control.of(claim.trial), control)):
                if first or (trial.seeded and not (further and trial.quota == "all")):
                    found.append(trial.measure(stack, device))
        ran |= names
    except Exception as error:  # one broken claim must not hide the verdict on the others
        errors.append(f"{type(error).__name__}: {error}")
    seconds[0] += time.perf_counter() - began


@warned()
def _finished(claim, part):
    """The row of a claim, from all its stacks."""
    own, control, seconds, errors, ran = part
    if not claim.testable or errors:
        return blank(claim, error="".join(errors))
    return settled(claim, [joined(own), joined(control)], seconds[0], ran)
