import numpy as np
import pytest

from metalearn_lib.evaluate import ORACLE, CellResult, Outcome, shifted_cell
from metalearn_lib.studies import task_shift
from metalearn_lib.studies.task_shift import META, METAS, ON_ADAM, ON_ADAMS, WRONG


def cell(name: str, **steps) -> CellResult:
    """A cell of cap 100, eight steps an epoch, in which each method takes these steps."""
    names = {"meta": META, "oracle": ORACLE, "on_adam": ON_ADAM}
    arrays = {names.get(method, method): np.array(each, float) for method, each in steps.items()}
    runs = {m: Outcome(each, each < 100, np.ones_like(each, bool)) for m, each in arrays.items()}
    return CellResult(name, 100, 8.0, runs)


HOME = cell("task A", SGD=[40, 40], meta=[20, 20], oracle=[40, 40], Adam=[10, 10], on_adam=[10, 10])
AWAY = cell("scale 4", SGD=[100, 81], meta=[30, 30], oracle=[10, 10], Adam=[50, 50], on_adam=[5, 5])
RESULTS = {"task A": HOME, "scale 4": AWAY, "digits": HOME}


def test_what_the_oracle_gains_is_shared_out_only_where_it_gains_anything():
    table = task_shift.summary(RESULTS)
    assert table.loc["task A", (META, "captured")] == "–"
    assert table.loc["scale 4", (META, "captured")] == "0.50"  # 90, 30 and 10 on the geometric mean
    assert table.loc["scale 4", ("head-room", "")] == "9.00"
    assert table.loc["scale 4", (META, "verdict")] == "better"


def test_a_run_at_the_cap_counts_as_a_failure_of_its_method_in_its_cell():
    table = task_shift.summary(RESULTS)["failures"]
    assert table.loc["scale 4"].to_dict() == {"SGD": 1, "meta": 0, "oracle": 0, "Adam": 0}
    assert task_shift.num_failed(RESULTS, ["SGD", META]) == {"SGD": 1, META: 0}


def test_the_pages_numbers_are_those_of_the_cells_that_it_names():
    told = task_shift.numbers(RESULTS, "scale 4")
    assert told["home_meta"] == told["digits_meta"] == "2.00 [2.00, 2.00]"
    assert told["b_on_adam_over_adam"] == "10.00 [10.00, 10.00]"
    assert (told["b_epochs_meta"], told["b_failed_sgd"]) == (30 / 8, 1)
    assert told["home_sentence"].endswith("sooner.")


@pytest.mark.parametrize(
    ("baseline", "name", "value"), [("SGD", "task A", "2.00"), (ORACLE, "scale 4", "0.33")]
)
def test_the_worst_cell_is_the_one_of_the_least_speedup_over_that_rival(baseline, name, value):
    assert task_shift.worst({"task A": HOME, "scale 4": AWAY}, baseline)[0] == name
    assert task_shift.worst({"task A": HOME, "scale 4": AWAY}, baseline)[1].startswith(value)


def test_every_method_that_the_page_shows_meets_in_every_cell_once():
    study = task_shift.task_shift(shifted_cell("rotate", 30), 4, 2)
    assert {"SGD", "Adam", ORACLE, *METAS, *ON_ADAMS} == set(study.methods)
    assert [each.name for each in study.cells][-1] == "rotate 30"
    again = task_shift.task_shift(study.cells[-2], 4, 2)
    assert len(again.cells) == len(study.cells) - 1


def test_a_base_rate_set_wrong_is_wrong_on_top_of_what_the_page_asks_for():
    wrong = {
        name: recipe.base_lr_factor for name, recipe in task_shift.wrong_rates(4, 2, 3.0).methods.items()
    }
    assert wrong == pytest.approx(
        {"home_failed_slow": 0.03, "home_failed_fast": 300, "adam_failed_slow": 0.01, "adam_failed_fast": 100}
    )
    methods = task_shift.task_shift(shifted_cell("scale", 4), 4, 2, 3.0).methods
    assert [methods[META + told].base_lr_factor for told in WRONG] == pytest.approx([0.03, 300])
