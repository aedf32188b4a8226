"""The statistics against closed forms, other packages and limiting cases."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from metalearn_lib.statistics import (
    break_even_tasks,
    equivalent_p,
    failure_difference,
    faster_p,
    headroom_interval,
    holm,
    log_ratios,
    performance_profile,
    pool,
    pool_speedups,
    ratio_of_means,
    ratio_of_medians,
    regret,
    restricted_speedup,
    survival_curve,
    trial_costs,
    trials_to_overtake,
    win_probability,
)

TIMES = np.random.default_rng(0).uniform(10, 100, (5, 16))


def test_without_meta_seeds_the_interval_is_the_one_way_bootstrap_to_the_bit():
    ratios = np.log(TIMES[0]) - np.log(TIMES[1])
    draws = np.random.default_rng(0).integers(16, size=(10_000, 16))
    low, high = np.exp(np.quantile(ratios[draws].mean(1), [0.025, 0.975]))
    assert restricted_speedup(TIMES[0], TIMES[1]) == (np.exp(ratios.mean()), low, high)


@pytest.mark.parametrize("estimate", [restricted_speedup, ratio_of_means, ratio_of_medians, win_probability])
def test_a_placebo_has_an_interval_of_width_zero(estimate):
    value, low, high = estimate(TIMES, TIMES)
    assert low == high == value == (0.5 if estimate is win_probability else 1)


def test_the_two_way_interval_covers_the_truth_nearly_as_often_as_it_says():
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        logs = (
            0.2 * random.normal(size=(10, 1))
            + 0.3 * random.normal(size=20)
            + 0.2 * random.normal(size=(10, 20))
        )
        interval = restricted_speedup(np.ones(20), np.exp(logs), num_draws=400)
        covered += interval.low <= 1 <= interval.high
    assert 0.85 < covered / 200 <= 1


def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs():
    before, after = np.repeat([True, False, True], [9, 2, 5]), np.repeat([False, True], [9, 7])
    told = failure_difference(before, after)
    assert told.p_value == pytest.approx(binomtest(2, 11).pvalue)
    assert told[1:3] == (2, 9)
    assert told.difference.value == pytest.approx(7 / 16)


def test_holm_gives_the_values_worked_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_a_clear_win_is_faster_and_a_placebo_equivalent():
    assert faster_p(2 * TIMES, TIMES) == equivalent_p(TIMES, TIMES) == 1 / 10_001
    assert faster_p(TIMES, TIMES) == equivalent_p(2 * TIMES, TIMES) == 1


def test_the_oracle_itself_captures_all_head_room_and_has_no_regret():
    assert headroom_interval(2 * TIMES, TIMES, TIMES) == regret(TIMES, TIMES) == (1, 1, 1)
    gain, room = (log_ratios(3 * TIMES[0], each).mean() for each in (TIMES[1], TIMES[0]))
    assert headroom_interval(3 * TIMES[0], TIMES[1], TIMES[0]).value == pytest.approx(gain / room)
    assert math.isnan(headroom_interval(TIMES, TIMES, TIMES).value)


def test_break_even_is_cost_over_saving_or_never():
    assert break_even_tasks(1000, TIMES[0] * 0 + 30, TIMES * 0 + 20) == (100, 100, 100)
    assert break_even_tasks(1000, TIMES, TIMES) == (math.inf, math.inf, math.inf)


def test_a_profile_counts_no_censored_run():
    profile = performance_profile(
        np.array([1.0, 2, 4, 8]), np.array([True, True, True, False]), np.ones(4), np.array([1, 2, 3, 100])
    )
    np.testing.assert_array_equal(profile, [0.25, 0.5, 0.5, 0.75])


def test_equal_cells_pool_to_the_fixed_effect_and_spread_cells_to_their_variance():
    assert pool(np.full(4, 0.5), np.array([0.1, 0.2, 0.3, 0.4])).tau_squared == 0
    pooled = pool(np.array([-1.0, 0, 1]), np.full(3, 0.1))
    assert pooled.tau_squared == pytest.approx(1 - 0.01)
    assert pooled.mean.high == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)


def test_pooling_cells_without_noise_is_students_t_test_on_their_speedups():
    gains = np.array([0.1, 0.5, 0.2, 0.4])
    pooled = pool_speedups([TIMES] * 4, [TIMES / np.exp(gain) for gain in gains])
    told = ttest_1samp(gains, 0.1, alternative="greater")
    assert pooled.p_above(0.1) == pytest.approx(told.pvalue)
    interval = told.confidence_interval(0.975)  # one-sided: its end is that of the two-sided 95 %
    assert (pooled.mean.value, pooled.mean.low) == pytest.approx((gains.mean(), interval.low))
    same = pool_speedups([TIMES] * 3, [TIMES] * 3)
    assert (same.p_above(-0.1), same.p_above(0), same.p_above(0.1)) == (0, 1, 1)


def test_the_area_below_the_survival_curve_is_the_mean_of_the_restricted_times():
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    times = np.minimum(TIMES[0], 50)
    at, alive = survival_curve(times, TIMES[0] < 50)
    assert (np.diff(at) * alive[:-1]).sum() == pytest.approx(times.mean())
    fitted = KaplanMeierFitter().fit(times, TIMES[0] < 50)
    assert restricted_mean_survival_time(fitted, t=50) == pytest.approx(times.mean())


def test_trials_pay_once_enough_tasks_share_them():
    by_rate = np.array([[100.0, 100, 100], [10, 10, 10]])
    np.testing.assert_allclose(np.exp(trial_costs(by_rate, [0, 1])), [100, 200, 120])
    method = np.full(3, 50.0)
    assert trials_to_overtake(by_rate, [0, 1], method) == math.inf
    assert trials_to_overtake(by_rate, [0, 1], method, num_tasks=11) == 2
    assert trials_to_overtake(by_rate, [1], method) == 0


def test_a_resampled_median_is_numpys_median_of_the_repeated_values():
    from metalearn_lib.statistics.times import weighted_medians

    counts = np.random.default_rng(1).multinomial(16, np.full(16, 1 / 16), size=20)
    expected = [np.median(np.repeat(TIMES[0], each)) for each in counts]
    np.testing.assert_allclose(weighted_medians(TIMES[0], counts), expected)
