from dataclasses import replace
from functools import partial

import pytest
import torch

from metalearn_lib.directions.adam import Adam
from metalearn_lib.evaluate import Cell, Method
from metalearn_lib.fingerprints import _code, code_fingerprint, fingerprint
from metalearn_lib.rates.constant import Constant
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
        {"a": 1.0},
        None,
    ]
    prints = [fingerprint(value) for value in values]
    assert len(set(prints)) == len(values)
    assert prints[0] == fingerprint(Cell("b", Scale(GaussianMixture(), 4.0)))
    assert prints[6] == fingerprint(torch.zeros(3))
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [object(), lambda: 0, {1, 2}])
def test_what_cannot_be_told_is_refused(value):
    with pytest.raises(TypeError, match="has no fingerprint"):
        fingerprint(value)


def test_comments_and_docstrings_do_not_count_and_code_does():
    plain = "def f(x):\n    return x + 1\n"
    told = '"""A module."""\n\n\ndef f(x):  # adds\n    """One more."""\n    return x + 1\n'
    assert _code(told) == _code(plain)
    assert _code(plain) != _code(plain.replace("1", "2"))
    assert _code(plain) != _code(plain.replace("+", "-"))


def test_code_in_other_languages_counts_and_its_comments_do_not(monkeypatch, tmp_path):
    monkeypatch.setattr("metalearn_lib.fingerprints._PACKAGE", tmp_path)
    prints = []
    for text in ("int a = 1;", "// one\nint a =\n    1;  // more", "int a = 2;"):
        (tmp_path / "a.cpp").write_text(text)
        code_fingerprint.cache_clear()
        prints.append(code_fingerprint(("a.cpp",)))
    code_fingerprint.cache_clear()
    assert prints[0] == prints[1] != prints[2]


def test_the_code_of_a_folder_is_that_of_its_files():
    assert code_fingerprint(("evaluate",)) != code_fingerprint(("evaluate/cells.py",))
    assert code_fingerprint(("rates.py",)) == code_fingerprint(("rates.py",))
