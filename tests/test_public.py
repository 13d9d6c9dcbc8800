"""Public functions refuse what they must not be given, in one clear line: wrong calls of each, see tests/public.py."""

import inspect
from dataclasses import dataclass

import numpy as np
import public
import pytest
import sympy as sp
import torch
from conftest import refusal

from attnflow import door, laws


@dataclass
class Case:
    """An object with a size."""

    d: int


ROWS, REASONS = public.table()
FUNCTIONS = public.public()


def test_every_public_function_has_a_row_or_a_reason():
    assert public.missing() == []


def test_every_row_is_of_a_public_function_and_names_each_of_its_parameters():
    assert sorted(set(ROWS) - set(FUNCTIONS)) == [] == sorted(set(REASONS) & set(ROWS))
    for name, row in ROWS.items():
        parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
        asked = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        assert set(asked) <= set(row.make()), name


@pytest.mark.parametrize("name", ROWS)
def test_wrong_calls_are_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = list(public.probe(name, FUNCTIONS[name], ROWS[name]))
    told = [f"{each.parameter}: {each.wrong} {each.outcome} {each.said}" for each in found if each.outcome != "clear"]
    assert [line for line in told if " obscure " not in line] == []
    assert len(told) <= 0.05 * len(found), told


def test_the_probe_sees_what_is_not_refused():
    row = public.table()[0]["laws.neuron_imbalance"]
    open_door = {
        each.outcome for each in public.probe("laws.neuron_imbalance", inspect.unwrap(laws.neuron_imbalance), row)
    }
    assert open_door == {"silent", "obscure"}


def test_sizes_are_one_all_through_a_call_and_told():
    one, two = (torch.ones(2, rows, columns, dtype=torch.float64) for rows, columns in ((3, 5), (4, 6)))
    said = refusal(lambda: laws.imbalance(one, two))
    assert (
        "right = a tensor of float64 entries and shape (2, 4, 6)" in said
        and "(S, ..., e, k), where S = 2 and k = 5" in said
    )
    assert "a tensor of finite float64 entries" in refusal(lambda: laws.imbalance(one.float(), two))
    assert "not finite" in refusal(lambda: laws.imbalance(one / 0, two))


@dataclass(frozen=True)
class Net:
    """An object with a size."""

    width: int


def test_sizes_of_objects_and_of_symbols_are_those_of_the_call():
    @door.takes(rows="S k", net=door.instance(Net, k="width"), left=door.symbolic("k m"), right=door.symbolic("m k"))
    def call(rows, net, left, right):
        return True

    rows, left = torch.ones(2, 3, dtype=torch.float64), sp.ones(3, 4)
    assert call(rows, Net(3), left, left.T)
    assert "(S, k), where k = 4" in refusal(lambda: call(rows, Net(4), left, left.T))
    assert "right = (3, 4)" in refusal(lambda: call(rows, Net(3), left, left))
    assert "left = 'ones'" in refusal(lambda: call(rows, Net(3), "ones", left))

    @door.takes(one=door.instance(Net, k="width"), two=door.instance(Net, k="width"))
    def both(one, two):
        return True

    assert both(Net(3), Net(3)) and "two.width = 4" in refusal(lambda: both(Net(3), Net(4)))


def test_what_the_library_hands_to_itself_is_not_checked_again():
    @door.takes(value=door.COUNT)
    def inner(value):
        return value

    @door.takes(value=door.COUNT)
    def outer(value):
        if value == 3:
            raise ArithmeticError
        return inner(-value)

    assert outer(2) == -2 and "value = -2" in refusal(lambda: inner(-2))
    with pytest.raises(ArithmeticError):
        outer(3)
    assert "value = 0" in refusal(lambda: outer(0))
    with pytest.raises(TypeError, match="inner has no parameter other"):
        door.takes(other=door.COUNT)(inspect.unwrap(inner))


def test_a_net_has_the_sizes_of_the_call_and_lists_and_arrays_have_each_others():
    @door.takes(
        state="S d",
        net=door.instance(Case, d="d"),
        widths=door.several(door.COUNT, letter="W"),
        table="array: W S",
    )
    def taken(state=None, net=None, widths=(), table=None):
        return True

    state = torch.ones(2, 3, dtype=torch.float64)
    assert taken(state, Case(3), [1, 2], np.ones((2, 2)))
    assert "(S, d), where d = 4" in refusal(lambda: taken(state, Case(4)))
    assert "(S, d), where d = 4" in refusal(lambda: taken(net=Case(4), state=state))
    assert "shape (3, 2)" in refusal(lambda: taken(widths=[1, 2], table=np.ones((3, 2))))
    assert "not finite" in refusal(lambda: taken(table=np.full((3, 2), np.nan)))
    assert "an array of finite floating-point entries" in refusal(lambda: taken(table=[[1.0]]))
