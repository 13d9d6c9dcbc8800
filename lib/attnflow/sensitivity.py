r"""How far a cell of a sweep is chaotic: what a nudge of its start and a second thread do to it, and what a rerun may give.

Descent at the edge of stability amplifies rounding errors, so that two runs of one code may end apart. Stored beside each cell
is its *sensitivity*: the relative change of its arrays when every entry of the start moves by about ``NUDGE``, or when the work
is done by two threads, the larger of the two. Above ``EDGE`` the cell has a *band*: the lowest and the highest of each entry,
of the stored run and of ``BAND`` nudged ones. A further run is as good as any of those, so an entry of it lies outside the band
with a chance of at most 2 in ``BAND`` + 1, seldom far: what a rerun may give is the band and once its width on either side.
"""

import datetime
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from attnflow import copies, door, files, flow, runs, store, sweep, workers

NUDGE = 1e-12  # relative: thousands of roundings, so that a rerun of a cell that is not chaotic stays within its sensitivity
THREADS, EDGE, BAND = 2, 1e-3, 8
TERMS = {"nudge": NUDGE, "threads": THREADS, "edge": EDGE, "band": BAND}
TOLERANCE = 1e-6  # relative: what another order of sums may do to a calm cell

TABLE, ARRAYS = door.instance(sweep.Sweep), door.named(door.instance(np.ndarray))
SETTINGS = door.is_a("a dict of settings of the table", lambda value: isinstance(value, dict) and bool(value))


@door.takes(table=TABLE)
def terms(table: sweep.Sweep) -> dict:
    """How the sensitivity of a ``table`` is measured, to be stored beside it."""
    return TERMS | {"probe": table.probe, "brief": table.brief}


@door.takes(base=door.instance(np.ndarray), other=door.instance(np.ndarray))
def apart(base: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two arrays over the largest finite entry of ``base``; infinite where not finite alike.

    other: an array like it, which is compared in the precision of ``base``.
    """
    base, other = (np.asarray(each).astype(base.dtype).astype(float) for each in (base, other))
    finite = np.isfinite(base)
    if base.shape != other.shape or not np.array_equal(base[~finite], other[~finite], equal_nan=True):
        return np.inf
    gap = np.abs(base[finite] - other[finite])
    return float(gap.max(initial=0.0) / max(np.abs(base[finite]).max(initial=0.0), 1e-300))


@door.takes(base=ARRAYS, other=ARRAYS)
def change(base: dict, other: dict) -> float:
    """The largest :func:`apart` of the arrays of two runs of one cell, ``base`` and ``other``, name -> array."""
    runs.check("other", sorted(other), f"arrays with the names {', '.join(sorted(base))}", set(other) >= set(base))
    return max(apart(values, other[name]) for name, values in base.items())


@door.takes(table=TABLE, settings=SETTINGS, where=sweep.WHERE)
def measured(table: sweep.Sweep, settings: dict, where: torch.device) -> list[store.Step]:
    """A task of ``sweep.run`` with its sensitivity and, above ``EDGE``, its band, each in a file of its own.

    table, settings, where: as for :func:`attnflow.sweep.one`. Its arrays have besides ``:sensitivity`` (), and
    ``low:NAME`` and ``high:NAME`` like each array, NaN where there is no band. All are NaN outside the ``probe`` of the table.
    A chaotic cell that was measured in ``brief``, which gives no band, fails.
    """

    def again(count=1, seed=None):
        with nullcontext() if seed is None else flow.nudged(NUDGE, seed):
            return sweep.cell(table, settings | table.brief, where, count)

    def make(base):
        first = again() if table.brief else base
        value = max(change(first, again(seed=0)), change(first, again(THREADS)))
        runs.check("sensitivity in brief", value, f"at most {EDGE}: measure in full", value <= EDGE or not table.brief)
        several = [base, *(again(seed=seed) for seed in range(1, BAND + 1))] if value > EDGE else None
        return {":sensitivity": np.array(value)} | band(base, several)

    (own,) = sweep.one(table, settings, where)
    if any(settings[name] not in values for name, values in table.probe.items()):
        return [own, store.Step(None, lambda base: {":sensitivity": np.array(np.nan)} | band(base, None))]
    return [own, store.Step(own.identity | {"sensitivity": TERMS, "brief": table.brief}, make)]


@door.takes(base=ARRAYS, several=door.either(door.several(ARRAYS), door.is_a("None", lambda value: value is None)))
def band(base: dict, several: list[dict] | None) -> dict:
    """``low:NAME`` and ``high:NAME``, the lowest and highest of ``several`` runs, NaN where there are None: name -> array.

    An entry that is no number in some of the runs has a band without ends. base: the arrays whose shapes they have.
    """
    found = {}
    for name, values in base.items():
        low = high = np.full(values.shape, np.nan)
        if several:
            stack = np.stack([one[name] for one in several]).astype(float)
            low, high, some = stack.min(axis=0), stack.max(axis=0), np.isnan(stack).any(axis=0)
            some &= ~np.isnan(stack).all(axis=0)
            low, high = np.where(some, -np.inf, low), np.where(some, np.inf, high)
        found |= {f"low:{name}": low, f"high:{name}": high}
    return found


@dataclass(frozen=True)
class Kept:
    """What is stored of the chaos in a sweep.

    table: the sweep; arrays: its stored ones, name -> array; sensitivity: of each cell, an array with the axes of the table,
    NaN where it was not measured; low, high: name -> array like the stored one, its bands, NaN where a cell has none.
    """

    table: sweep.Sweep
    arrays: dict
    sensitivity: np.ndarray
    low: dict
    high: dict

    @property
    def measured(self) -> np.ndarray:
        """The sensitivities that were measured: (N,)."""
        return self.sensitivity[~np.isnan(self.sensitivity)]

    @property
    def chaotic(self) -> np.ndarray:
        """Which cells have a band: an array of bool with the axes of the table."""
        return self.sensitivity > EDGE

    def most(self, count: int = 1, **settings: object) -> list[int]:
        """The places of the ``count`` most sensitive cells of those with some ``settings``, the most sensitive first."""
        runs.names("settings", tuple(settings), tuple(self.table.axes))
        order = np.argsort(-self.sensitivity, axis=None, kind="stable").tolist()
        tasks = self.table.tasks()
        return [place for place in order if settings.items() <= tasks[place].items()][: runs.integer("count", count)]

    def ends(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The bands of the array ``name``, (lowest, highest), like the stored array: its own entry twice where there is none."""
        base = self.arrays[name].astype(float)
        chaotic = np.expand_dims(self.chaotic, tuple(range(self.chaotic.ndim, base.ndim)))
        return np.where(chaotic, self.low[name], base), np.where(chaotic, self.high[name], base)

    def allowed(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """What a rerun may give for the array ``name`` of every cell: (lowest, highest), like the stored array.

        With a band: the band and its width on either side. Without: the stored entry and, on either side, the sensitivity of the
        cell times the largest finite entry of the array there. The margin is never less than ``TOLERANCE`` times that entry.
        """
        base, (low, high) = self.arrays[name], self.ends(name)
        own = tuple(range(self.sensitivity.ndim, base.ndim))
        size = np.abs(np.where(np.isfinite(base), base, 0)).max(axis=own, keepdims=True)
        share = np.where(self.chaotic, 0, np.nan_to_num(self.sensitivity, posinf=np.inf))
        with np.errstate(invalid="ignore"):  # inf - inf, where all runs of a band are infinite
            width = np.nan_to_num(high - low, posinf=np.inf)
        margin = np.maximum(width, np.maximum(np.expand_dims(share, own), TOLERANCE) * size)
        return low - margin, high + margin

    def within(self, place: int, fresh: dict) -> bool:
        """Whether ``fresh`` arrays, name -> array, of the cell at a ``place`` among the tasks are :meth:`allowed` everywhere."""
        index = np.unravel_index(place, self.sensitivity.shape)
        for name, values in fresh.items():
            low, high = (end[index] for end in self.allowed(name))
            free = np.isnan(values) & (np.isnan(low) | np.isneginf(low))
            if values.shape != low.shape or not np.all(free | ((low <= values) & (values <= high))):
                return False
        return True

    def recomputed(self, place: int, device: object = "cpu") -> dict:
        """The cell at a ``place`` among the tasks, run again on ``device``: name -> array."""
        return sweep.cell(self.table, self.table.tasks()[place], runs.device(device))

    def place(self, settings: dict) -> int:
        """The place among the tasks of the one cell with these ``settings``. Raises WrongUse but for one that was measured."""
        given = settings.items() if isinstance(settings, dict) else [None]
        there = [place for place, task in enumerate(self.table.tasks()) if all(each in task.items() for each in given)]
        single = len(there) == 1 and not np.isnan(self.sensitivity.flat[there[0]])
        runs.check("settings", settings, "those of one cell alone, whose sensitivity is stored", single)
        return there[0]

    def again(self, *named: dict, **settings: object) -> dict[int, bool]:
        """Run cells once more: place -> :meth:`within`. The most sensitive one with some ``settings``, then those ``named``.

        named: each as for :meth:`place`. Where one is the most sensitive cell, the next most sensitive one is run besides.
        """
        most = self.most(1 + len(named), **settings)
        places = dict.fromkeys([*most[:1], *map(self.place, named), *most])
        return {place: self.within(place, self.recomputed(place)) for place in list(places)[: 1 + len(named)]}

    def told(self, *named: dict, **settings: object) -> str:
        """How many cells are chaotic, and whether the cells of :meth:`again`, ``named`` and with ``settings``, are as stored."""
        lines = [f"{int(self.chaotic.sum())} of {len(self.measured)} measured cells are chaotic"]
        for place, fits in self.again(*named, **settings).items():
            cell = {name: self.table.tasks()[place][name] for name in self.table.axes}
            lines.append(f"{workers.told(cell)}: computed again it is {'as' if fits else 'NOT as'} stored")
        return "\n".join(lines)


@door.takes(table=TABLE)
def kept(table: sweep.Sweep) -> Kept:
    """What is stored of the chaos in a ``table``. Raises WrongUse where the sweep, or its sensitivity, is absent."""
    arrays, _ = sweep.stored(table.name)
    allowed = f"of a sweep stored with it: attnflow sweep {table.name} --keep"
    runs.check("sensitivity", table.name, allowed, ":sensitivity" in arrays)
    own = sweep.kept(table.name)[0]
    bands = ({name: arrays[f"{end}:{name}"] for name in own} for end in ("low", "high"))
    return Kept(table, own, arrays[":sensitivity"], *bands)


@door.takes(table=TABLE, cells=door.COUNT)
def recomputed(
    table: sweep.Sweep, cells: int = 3, device: object = "cpu", beside: Path | None = None
) -> dict[int, tuple[float, bool]]:
    """Recompute some ``cells`` of a stored ``table``, spread over those with a sensitivity, on ``device``.

    Returns place -> (change, within): the number of :func:`change` and the verdict of :meth:`Kept.within`. A cell whose
    sensitivity was not measured may be chaotic, and another machine then has other numbers: it proves nothing of the code.
    beside: a folder with a copy of the book of the day when the table was stored, or nothing. Cells are then compared, to
    ``TOLERANCE``, with what that copy computes on this machine, since what is stored may come from another processor.
    """
    known, found, code = kept(table), {}, sweep.kept(table.name)[1]["code"]
    places = np.flatnonzero(~np.isnan(known.sensitivity))
    spots = np.linspace(0, len(places) - 1, runs.integer("cells", cells)).round().astype(int)
    for place in places[np.unique(spots)].tolist():
        fresh = known.recomputed(place, device)
        index = np.unravel_index(place, known.sensitivity.shape)
        if beside is None:
            here = {name: values[index] for name, values in known.arrays.items()}
            found[place] = change(here, fresh), known.within(place, fresh)
        else:
            gap = change(copies.cell(beside, table.name, place, str(device), code), fresh)
            found[place] = gap, gap <= TOLERANCE
    return found


@door.takes(table=TABLE)
def adopt(table: sweep.Sweep, device: object = "cpu", beside: Path | None = None) -> dict[int, float]:
    """Write the hash of today's code beside a stored ``table``, with what three cells recomputed on ``device`` say of it.

    There is no other way to change that hash but to run the table again. Returns place -> :func:`change`. Raises WrongUse, and
    writes nothing, where a cell is not what a rerun may give. beside: as for :func:`recomputed`.
    """
    found = recomputed(table, device=device, beside=beside)
    gaps = {place: gap for place, (gap, _) in found.items()}
    allowed = f"at most {TOLERANCE:.0e}, its sensitivity or its band; otherwise: attnflow sweep {table.name} --keep"
    runs.check(f"difference of cells of {table.name}", gaps, allowed, all(fits for _, fits in found.values()))
    provenance = files.read_json(path := sweep.stored(table.name)[1])
    row = {
        "from": provenance["code"],
        "to": table.code,
        "compared with": "the stored cells" if beside is None else "the same cells by the earlier code on one machine",
        "cells": {str(place): gap if np.isfinite(gap) else str(gap) for place, gap in gaps.items()},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    files.write_json(path, provenance | {"code": table.code, "adopted": [*provenance["adopted"], row]})
    return gaps
