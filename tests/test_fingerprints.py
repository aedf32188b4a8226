from dataclasses import dataclass, field, make_dataclass, replace
from functools import partial

import pytest
import torch

from metalearn_lib.directions.adam import Adam
from metalearn_lib.evaluate import Cell, Method
from metalearn_lib.fingerprints import fingerprint
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.constant import Constant as TheirConstant
from metalearn_lib.shifts.scale import Scale
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

CELL = Cell("b", Scale(GaussianMixture(), 4.0))


def test_equal_contents_have_one_fingerprint_and_any_difference_another():
    values = [
        CELL,
        replace(CELL, name="c"),
        replace(CELL, family=Scale(GaussianMixture(), 4.5)),
        replace(CELL, family=Scale(GaussianMixture(blobs=1), 4.0)),
        Method(Adam(), Constant(0.1)),
        Method(Adam(beta1=0.8), Constant(0.1)),
        torch.zeros(3),
        torch.zeros(3, 1),
        torch.zeros(3, dtype=torch.float64),
        Seeds("tune", 3),
        Seeds("score", 3),
        partial(max, 1),
        partial(max, 2),
        ("a", "b"),
        ("ab",),
        {"a": 1},
        {"a": 1.5},
        True,
        None,
    ]
    prints = [fingerprint(value) for value in values]
    assert len(set(prints)) == len(values)
    assert prints[0] == fingerprint(Cell("b", Scale(GaussianMixture(), 4.0)))
    assert prints[6] == fingerprint(torch.zeros(3))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(replace(CELL, family=Scale(GaussianMixture(), 4))) == fingerprint(CELL)


@pytest.mark.parametrize("value", [object(), lambda: 0, {1, 2}])
def test_what_cannot_be_told_is_refused(value):
    with pytest.raises(TypeError, match="has no fingerprint"):
        fingerprint(value)


def test_a_class_of_one_s_own_is_known_by_its_module_too():
    @dataclass(frozen=True)
    class Constant:
        lr: float

    assert fingerprint(Constant(0.1)) != fingerprint(TheirConstant(0.1))


def test_a_field_that_is_added_with_a_default_changes_no_fingerprint():
    def made(*fields):
        return make_dataclass("Thing", fields, frozen=True)

    before = made(("size", int))(3)
    after = made(("size", int), ("colour", str, field(default="red")))
    assert fingerprint(after(3)) == fingerprint(before)
    assert fingerprint(after(3, "blue")) != fingerprint(before)
