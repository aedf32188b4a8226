"""A wrong parameter ends a notebook with a sentence that names the value, the rule and the remedy."""

from __future__ import annotations

import json
import math
import types
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from papermill.cli import papermill
from report_project import Project, notebook

from metalearn_lib.report.parameters import (
    SIZES,
    Boolean,
    Each,
    Integer,
    Known,
    OneOf,
    Real,
    SomeOf,
    check_parameters,
)
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.shifts.scale import Scale

RULES = {
    "shift": Real(0, 64, meaning="severity", example=2.0),
    "shift_family": OneOf("translate", "scale", "anisotropy"),
    "num_instances": Integer(2, 4096),
    "standardise": Boolean(),
}
GOOD = {"shift": 1.0, "shift_family": "scale", "num_instances": 8, "standardise": True}


def test_good_parameters_come_back_as_their_rule_has_them() -> None:
    namespace = GOOD | {"shift": 2, "num_instances": 8.0}
    check_parameters(namespace, **RULES)
    assert namespace == GOOD | {"shift": 2.0, "num_instances": 8}
    assert isinstance(namespace["shift"], float)
    assert isinstance(namespace["num_instances"], int)


def test_some_of_a_few_names_are_a_list_and_one_alone_becomes_one() -> None:
    rule = SomeOf("task A", "scale 4")
    assert rule.check("cells", []) == []
    assert rule.check("cells", "scale 4") == ["scale 4"]
    assert rule.check("cells", ("task A", "scale 4")) == ["task A", "scale 4"]
    with pytest.raises(ValueError, match=r"cells='scale 5' is unknown: .*pass e.g. -p cells 'scale 4'"):
        rule.check("cells", ["task A", "scale 5"])
    with pytest.raises(ValueError, match="cells=3 is no list of names"):
        rule.check("cells", 3)


def test_a_class_goes_by_its_name_or_by_that_of_a_module_outside() -> None:
    rule = Known(SHIFTS)
    assert rule.check("shift_family", "scale") == "scale"
    assert rule.check("shift_family", f"{Scale.__module__}:Scale") == f"{Scale.__module__}:Scale"
    with pytest.raises(
        ValueError, match=r"shift_family='scael' is unknown: .*pass e.g. -p shift_family scale"
    ):
        rule.check("shift_family", "scael")
    with pytest.raises(ValueError, match=r"shift_family='nowhere:Scale': .*'nowhere' cannot be imported"):
        rule.check("shift_family", "nowhere:Scale")


def test_each_of_a_list_must_be_understood_and_what_is_wrong_is_told() -> None:
    rule = Each(int)
    assert rule.check("also", []) == []
    assert rule.check("also", "1") == ["1"]
    assert rule.check("also", ("1", "2")) == ["1", "2"]
    with pytest.raises(ValueError, match=r"also=\['1', 'one'\]: invalid literal for int.*'one'"):
        rule.check("also", ["1", "one"])
    with pytest.raises(ValueError, match=r"also=3 is no list of names; pass e\.g\. -p also module:Name"):
        rule.check("also", 3)


def test_the_sizes_of_a_contest_are_rules_and_no_parameter_by_themselves() -> None:
    sizes = {"num_instances": 128, "num_tuning": 64, "num_meta_seeds": 5, "workers": 0}
    check_parameters(sizes | {"SIZES": SIZES}, **SIZES)
    with pytest.raises(ValueError, match="num_meta_seeds=6 is out of range"):
        check_parameters(sizes | {"num_meta_seeds": 6}, **SIZES)


@pytest.mark.parametrize("value", [np.float64(3), np.int64(3), Fraction(3), 3, 0, 64])
def test_every_kind_of_real_number_in_the_closed_interval_is_a_number(value: Any) -> None:
    assert Real(0, 64).check("shift", value) == float(value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("shift", -1, "shift=-1 is out of range: severity must lie in [0, 64]; pass e.g. -p shift 2.0"),
        ("shift", 64.01, "shift=64.01 is out of range"),
        ("shift", 10**400, "is out of range"),
        ("shift", math.nan, "shift=nan is not a finite number"),
        ("shift", -math.inf, "shift=-inf is not a finite number"),
        ("shift", "2.0", "shift='2.0' is of type str, not a finite number"),
        ("shift", True, "shift=True is of type bool, not a finite number"),
        ("shift", None, "shift=None is of type NoneType"),
        ("shift", [2.0], "shift=[2.0] is of type list"),
        ("shift", {}, "shift={} is of type dict"),
        ("shift", 1j, "shift=1j is of type complex"),
        ("shift", np.array([1.0, 2.0]), "is of type ndarray"),
        ("num_instances", 2.5, "num_instances=2.5 is not a whole number; pass e.g. -p num_instances 2"),
        ("num_instances", 1, "num_instances=1 is out of range: num_instances must lie in [2, 4096]"),
        ("num_instances", 10**9, "pass e.g. -p num_instances 4096"),
        ("num_instances", math.inf, "num_instances=inf is not a whole number"),
        ("num_instances", False, "is of type bool, not a whole number"),
        ("num_instances", "eight", "is of type str, not a whole number"),
        (
            "shift_family",
            "Scale",
            "must be one of translate, scale, anisotropy; pass e.g. -p shift_family scale",
        ),
        ("shift_family", "", "shift_family='' is unknown"),
        ("shift_family", 3, "shift_family=3 is unknown"),
        ("shift_family", None, "shift_family=None is unknown"),
        ("shift_family", ["scale"], "shift_family=['scale'] is unknown"),
        ("standardise", 1, "standardise=1 is neither True nor False; pass e.g. -p standardise True"),
        ("standardise", "yes", "standardise='yes' is neither"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_with_value_rule_and_remedy(
    name: str, value: Any, told: str
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared below
        check_parameters(GOOD | {name: value}, **RULES)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value), "one fault, one sentence"


@pytest.mark.parametrize("value", [2.0, "scale", None, [1], True, (1,), {"a": 1}])
def test_a_misspelt_name_is_refused_with_the_nearest_one(value: Any) -> None:
    with pytest.raises(ValueError, match="no parameter 'shfit'; did you mean 'shift'") as refused:
        check_parameters(GOOD | {"shfit": value}, **RULES)
    assert "shfit=" in str(refused.value)


def test_a_name_like_no_other_is_refused_with_all_there_are() -> None:
    with pytest.raises(ValueError, match="there are shift, shift_family, num_instances, standardise"):
        check_parameters(GOOD | {"q": 1}, **RULES)


def test_a_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="shift has no value"):
        check_parameters({name: value for name, value in GOOD.items() if name != "shift"}, **RULES)


def test_what_python_and_ipython_put_into_a_notebook_is_no_parameter() -> None:
    history, results = ["a"], {1: 2}
    namespace = GOOD | {"In": history, "_ih": history, "Out": results, "_oh": results, "_": 3, "_i1": "a"}
    namespace |= {"math": math, "check": check_parameters, "Real": Real, "exit": object(), "open": open}
    namespace |= {"__name__": "__main__", "alias": list[int], "lazy": types.SimpleNamespace()}
    check_parameters(namespace, **RULES)
    with pytest.raises(ValueError, match="no parameter 'In'"):
        check_parameters(namespace | {"In": 3}, **RULES)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="shfit") as refused:
        check_parameters({"shift": -1, "shift_family": "x", "num_instances": 0, "shfit": 2}, **RULES)
    assert len(str(refused.value).splitlines()) == 5


def test_a_long_value_is_told_in_short() -> None:
    with pytest.raises(ValueError, match="is unknown") as refused:
        check_parameters(GOOD | {"shift_family": "x" * 100_000}, **RULES)
    assert len(str(refused.value)) < 300


CHECKED = notebook(
    "#: parameters\nshift = 2.0  # severity\nshift_family = 'scale'",
    "from metalearn_lib.report.parameters import OneOf, Real, check_parameters\n"
    "check_parameters(globals(), shift=Real(0, 64), shift_family=OneOf('translate', 'scale'))",
    "print(shift, shift_family)",
)


@pytest.mark.filterwarnings("ignore")  # those of the kernel's client
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-p", "shift", "3"), None),
        (("-p", "shift", "-1", "-p", "shift_family", "scael"), "shift=-1 is out of range"),
        (("-p", "shift", "nan"), "shift=nan is not a finite number"),
        (("-r", "shift", "2.0"), "shift='2.0' is of type str"),
        (("-y", "shift: [1, 2]"), "shift=[1, 2] is of type list"),
    ],
)
def test_plain_papermill_stops_at_a_wrong_parameter(
    tmp_path: Path, arguments: tuple[str, ...], told: str | None
) -> None:
    # papermill's own command, in a process that has imported it; the kernel is a new one
    source, output = tmp_path / "checked.ipynb", tmp_path / "out.ipynb"
    source.write_text(CHECKED)
    command = [str(source), str(output), "-k", "python3", "--language", "python"]
    result = CliRunner().invoke(papermill, [*command, *arguments])
    if told is None:
        assert result.exit_code == 0, result.exception
        executed = json.loads(output.read_text())
        assert executed["cells"][-1]["outputs"][0]["text"] == ["3.0 scale\n"]
    else:
        assert result.exit_code == 1
        assert told in str(result.exception)


def test_the_shell_is_told_of_a_wrong_parameter_too(tmp_path: Path) -> None:
    project = Project.new(tmp_path, checked=CHECKED)
    command = ["notebooks/checked.ipynb", "out.ipynb", "-k", "python3", "--language", "python"]
    result = project.call("-m", "papermill", *command, "-p", "shfit", "3")
    assert result.returncode == 1
    assert "did you mean 'shift'?" in result.stderr
