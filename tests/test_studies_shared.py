import numpy as np
import pytest
from hand_made import rows

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.threshold import Outcome
from metalearn_lib.shifts.scale import Scale
from metalearn_lib.shifts.standardised import Standardised
from metalearn_lib.statistics import Interval
from metalearn_lib.studies.shared import (
    as_text,
    count_verdicts,
    failing,
    layers,
    over,
    regret,
    speedups,
    tuned_rate,
)
from metalearn_lib.tasks.moons import Moons


def cell(name: str, **steps) -> CellResult:
    """A cell of cap 100 in which each method takes these steps."""
    arrays = {method: np.array(each, float) for method, each in steps.items()}
    runs = {m: Outcome(each, each < 100, np.ones_like(each, bool)) for m, each in arrays.items()}
    return CellResult(name, 100, 4.0, runs)


HOME = cell("home", SGD=[40, 40], meta=[[10, 20], [20, 40]])
AWAY = cell("away", SGD=[90, 10], meta=[[100, 10], [100, 10]])


def test_over_one_cell_is_its_speedup_and_turned_round_its_inverse():
    alone = over([HOME], "meta")
    assert alone == HOME.speedup("meta")
    assert over([HOME], "SGD", "meta").value == pytest.approx(1 / alone.value)


def test_over_cells_log_speedups_are_averaged():
    both = HOME.speedup("meta").value * AWAY.speedup("meta").value
    assert over([HOME, AWAY], "meta").value == pytest.approx(both**0.5)


def test_who_takes_twice_as_long_as_the_oracle_has_a_regret_of_two():
    slow = cell("slow", SGD=[40, 40], oracle=[20, 20])
    assert regret([slow], "SGD", "oracle") == pytest.approx((2, 2, 2))
    assert regret([HOME, AWAY], "SGD", "SGD") == Interval(1, 1, 1)


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


def test_a_tuned_rate_is_read_from_the_row_of_its_cell_and_method():
    steps = {"home": {"SGD": [1], "Adam": [1]}, "away": {"SGD": [1]}}
    table = rows(steps, {("home", "Adam"): 0.01, ("away", "SGD"): 3.0})
    assert tuned_rate(table, "home", "SGD") == 0.1
    assert tuned_rate(table, "home", "Adam") == 0.01
    assert tuned_rate(table, "away", "SGD") == 3.0


def test_a_share_is_shown_as_per_cent_and_an_interval_as_it_is():
    assert as_text(0.125) == "12.5%"
    assert as_text(Interval(1, 0.5, 2)) == "1.00 [0.50, 2.00]"
    assert as_text(3) == "3"
