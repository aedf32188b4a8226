import numpy as np
import pytest

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.threshold import Outcome
from metalearn_lib.shifts.scale import Scale
from metalearn_lib.shifts.standardised import Standardised
from metalearn_lib.statistics import Interval
from metalearn_lib.studies.shared import count_verdicts, failing, layers, over, speedups, times
from metalearn_lib.tasks.moons import Moons


def cell(name: str, **steps) -> CellResult:
    """A cell of cap 100 in which each method takes these steps."""
    arrays = {method: np.array(each, float) for method, each in steps.items()}
    runs = {m: Outcome(each, each < 100, np.ones_like(each, bool)) for m, each in arrays.items()}
    return CellResult(name, 100, 4.0, runs)


HOME = cell("home", SGD=[40, 40], meta=[[10, 20], [20, 40]])
AWAY = cell("away", SGD=[90, 10], meta=[[100, 10], [100, 10]])


def test_times_over_cells_are_the_square_root_of_the_product_of_two():
    np.testing.assert_allclose(times([HOME, AWAY], "SGD"), [60, 20])
    np.testing.assert_allclose(times([HOME], "meta"), HOME.outcomes["meta"].steps)


def test_over_one_cell_is_its_speedup_and_turned_round_its_inverse():
    alone = over([HOME], "meta")
    assert alone == HOME.speedup("meta")
    assert over([HOME], "SGD", "meta").value == pytest.approx(1 / alone.value)


def test_over_cells_log_speedups_are_averaged():
    both = HOME.speedup("meta").value * AWAY.speedup("meta").value
    assert over([HOME, AWAY], "meta").value == pytest.approx(both**0.5)


def test_a_run_at_the_cap_is_a_failure_and_cells_weigh_the_same():
    few = cell("few", meta=[100])
    assert failing([HOME], "meta") == 0
    assert failing([AWAY, few], "meta") == pytest.approx((0.5 + 1) / 2)


def test_every_method_is_held_against_its_own_baseline():
    table = speedups({"home": HOME}, {"meta": "SGD", "SGD": "SGD"})
    assert table == {"home": {"meta": HOME.speedup("meta"), "SGD": Interval(1, 1, 1)}}


def test_verdicts_are_counted_and_those_that_nobody_got_are_none():
    counts = count_verdicts([Interval(2, 1.5, 3), Interval(1, 1, 1), Interval(3, 2, 4)])
    assert (counts["better"], counts["equivalent"], counts["worse"]) == (2, 1, 0)


def test_a_family_is_unwrapped_down_to_the_one_that_is_drawn():
    moons = Moons()
    scaled = Scale(moons, 4.0)
    assert layers(moons) == [moons]
    assert layers(Standardised(scaled)) == [Standardised(scaled), scaled, moons]
