"""Tunings that are draws: what an interval must know of two rates that are level."""

import numpy as np
import pytest

from metalearn_lib.statistics import Times, headroom_interval, pool_speedups, restricted_speedup
from metalearn_lib.statistics.paired import resampled
from metalearn_lib.statistics.times import ratio_of_means, ratio_of_medians, win_probability
from metalearn_lib.statistics.tunings import of_meta_seeds

RANDOM = np.random.default_rng(0)
STEPS = RANDOM.integers(10, 80, size=(2, 40)).astype(float)
METHOD = RANDOM.integers(10, 80, size=(3, 40)).astype(float)
TUNED = Times(STEPS, np.array([0.7, 0.3]), "SGD on A")


def test_a_tuning_with_one_choice_is_no_draw_at_all():
    alone = Times(STEPS[:1], np.array([1.0]), "SGD on A")
    assert restricted_speedup(alone, METHOD) == restricted_speedup(STEPS[0], METHOD)


def test_the_value_is_the_mean_over_choices_and_the_interval_holds_both():
    apart = Times(np.stack([STEPS[0], 4 * STEPS[0]]), np.array([0.7, 0.3]), "SGD on A")
    found = restricted_speedup(apart, STEPS[0])
    assert found.value == pytest.approx(4**0.3)
    assert (found.low, found.high) == (1.0, pytest.approx(4.0))


def test_who_runs_at_the_rate_of_one_tuning_is_drawn_with_it_and_who_does_not_is_not():
    twice = Times(STEPS / 2, TUNED.weights, "SGD on A")
    assert restricted_speedup(TUNED, twice) == pytest.approx((2, 2, 2))
    other = restricted_speedup(TUNED, Times(STEPS / 2, TUNED.weights, "another"))
    assert other.value == pytest.approx(2)
    assert other.low < 2 < other.high


def test_over_cells_a_shared_tuning_is_drawn_once_and_each_cells_own_by_itself():
    steps = np.stack([STEPS[0], 4 * STEPS[0]])
    shared = restricted_speedup([Times(steps, TUNED.weights, "A")] * 4, [STEPS[0]] * 4)
    own = restricted_speedup([Times(steps, TUNED.weights, f"B{n}") for n in range(4)], [STEPS[0]] * 4)
    assert shared.value == own.value == pytest.approx(4**0.3)
    assert (shared.low, shared.high) == (1.0, pytest.approx(4.0))
    assert own.high < shared.high


@pytest.mark.parametrize("statistic", [ratio_of_means, ratio_of_medians, win_probability])
def test_other_measures_draw_the_tuning_too(statistic):
    each = [statistic(steps, METHOD) for steps in STEPS]
    both = statistic(TUNED, METHOD)
    assert both.value == pytest.approx(0.7 * each[0].value + 0.3 * each[1].value)
    assert both.low >= min(each).low - 1e-9
    assert both.high <= max(one.high for one in each) + 1e-9


def test_the_oracle_itself_captures_all_head_room_at_every_choice():
    assert headroom_interval(Times(STEPS * 3, TUNED.weights, "A"), TUNED, TUNED) == pytest.approx((1, 1, 1))


def test_pooling_adds_the_variance_between_the_choices_that_all_cells_share():
    cells = [np.exp(RANDOM.normal(3, 0.1, 30)) for _ in range(5)]
    fixed = pool_speedups(cells, [each / 2 for each in cells])
    apart = [Times(np.stack([each, each * 1.5]), np.array([0.5, 0.5]), "A") for each in cells]
    found = pool_speedups(apart, [each / 2 for each in cells])
    assert found.mean.value == pytest.approx(fixed.mean.value + 0.5 * np.log(1.5))
    assert found.standard_error == pytest.approx(np.hypot(fixed.standard_error, 0.5 * np.log(1.5)))
    alone = [Times(each.steps[:1], np.array([1.0]), "A") for each in apart]
    assert pool_speedups(alone, [each / 2 for each in cells]) == fixed


def test_meta_seeds_are_picked_at_every_choice():
    steps = np.arange(24.0).reshape(2, 3, 4)
    picked = of_meta_seeds(Times(steps, TUNED.weights, "A"), 1)
    assert isinstance(picked, Times)
    np.testing.assert_array_equal(picked.steps, steps[:, 1])
    np.testing.assert_array_equal(of_meta_seeds(steps[0], slice(2)), steps[0, :2])


def test_weights_that_are_none_are_refused():
    with pytest.raises(ValueError, match="one each, and they must sum to 1"):
        Times(STEPS, np.array([0.7, 0.7]), "A")


def coverage(trials: int, know: bool) -> float:
    """How often a 95 % interval holds the truth, where two rates are level at home and differ by three under shift.

    At home both take `exp N(3, 0.5)` steps, paired; which of them tuning on 32 instances picks is a fair draw. On the
    shifted cell one takes three times as long as the other, and the method as long as the better one: the mean log
    speed-up over what tuning gives is half of log 3.
    """
    random, held = np.random.default_rng(7), 0
    for trial in range(trials):
        level = random.normal(3, 0.5, 32)
        home = np.stack([level + random.normal(0, 0.2, 32), level + random.normal(0, 0.2, 32)])
        shifted = random.normal(3, 0.5, 64)
        after = np.exp(shifted + random.normal(0, 0.2, 64))
        before = np.exp(np.stack([shifted, shifted + np.log(3)]) + random.normal(0, 0.2, (2, 64)))
        winner = int(home.mean(1).argmin())
        won = np.bincount((home @ resampled(32).T).argmin(0), minlength=2)
        tuned = Times(before, won / won.sum(), f"trial {trial}")
        found = restricted_speedup(tuned if know else before[winner], after, 1000)
        held += found.low <= 3**0.5 <= found.high
    return held / trials


def test_an_interval_that_knows_of_the_draw_holds_the_truth_and_one_that_does_not_never_does():
    assert coverage(200, know=False) < 0.05
    assert coverage(200, know=True) > 0.8
