"""What else can be said of paired times, beside the speed-up."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metalearn_lib.statistics.paired import (
    Interval,
    check_times,
    mean_draws,
    pair,
    percentile_interval,
    restricted_speedup,
    two_way_counts,
)


def ratio_of_means(baseline: NDArray, method: NDArray, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """Mean restricted time of the baseline over that of the method; long runs weigh most."""
    check_times(baseline, method)
    before, after = pair(baseline, method)
    draws = mean_draws(before, num_draws, seed) / mean_draws(after, num_draws, seed)
    return percentile_interval(before.mean() / after.mean(), draws)


def weighted_medians(values: NDArray, counts: NDArray) -> NDArray:
    """The median `(draws,)` of `values` `(n,)`, each taken as often as `counts` `(draws, n)` says."""
    order = np.argsort(values)
    reached = counts[:, order].cumsum(1)
    half = reached[:, -1:] / 2
    lower, upper = (reached >= half).argmax(1), (reached > half).argmax(1)
    return (values[order][lower] + values[order][upper]) / 2


def ratio_of_medians(baseline: NDArray, method: NDArray, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """Median restricted time of the baseline over that of the method; where half are censored it is the cap's."""
    check_times(baseline, method)
    before, after = pair(baseline, method)
    ratios = []
    # a block of draws at a time bounds the memory, not the result
    for seeds, instances in zip(
        *(np.array_split(each, 20) for each in two_way_counts(before.shape, num_draws, seed)), strict=True
    ):
        counts = (seeds[:, :, None] * instances[:, None, :]).reshape(len(seeds), -1)
        ratios.append(weighted_medians(before.ravel(), counts) / weighted_medians(after.ravel(), counts))
    return percentile_interval(np.median(before) / np.median(after), np.concatenate(ratios))


def win_probability(baseline: NDArray, method: NDArray, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """P(T_method < T_baseline) + P(tie) / 2 on the same instance; identical times give 1/2."""
    check_times(baseline, method)
    before, after = pair(baseline, method)
    wins = (1 + np.sign(before - after)) / 2
    return percentile_interval(wins.mean(), mean_draws(wins, num_draws, seed))


def headroom_interval(
    baseline: NDArray, method: NDArray, oracle: NDArray, num_draws: int = 10_000, seed: int = 0
) -> Interval:
    """`headroom_captured` with its paired interval; all `nan` where the oracle gains less than 1.2-fold.

        sum (log T_baseline - log T_method) / sum (log T_baseline - log T_oracle)

    An oracle's own times as the method give 1 with width 0.
    """
    check_times(baseline, method, oracle)
    before, after = pair(baseline, method)
    before, best = pair(before, oracle)
    before, after = pair(before, after)
    gain, room = np.log(before) - np.log(after), np.log(before) - np.log(best)
    if room.mean() < np.log(1.2):
        return Interval(math.nan, math.nan, math.nan)
    draws = mean_draws(gain, num_draws, seed) / mean_draws(room, num_draws, seed)
    return percentile_interval(gain.mean() / room.mean(), draws)


def regret(method: NDArray, oracle: NDArray, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """T_method / T_oracle, the geometric mean: 1 is as good as the oracle, 2 takes twice as long."""
    return restricted_speedup(method, oracle, num_draws, seed)


def break_even_tasks(
    training_cost: float, baseline: NDArray, method: NDArray, num_draws: int = 10_000, seed: int = 0
) -> Interval:
    """After how many tasks meta-training has paid for itself; `inf` is never.

        training_cost / mean(T_baseline - T_method)

    Args:
        training_cost: gradient evaluations of meta-training, discarded runs included.
    """
    check_times(baseline, method)
    before, after = pair(baseline, method)
    saving = percentile_interval(
        (before - after).mean(), mean_draws(np.asarray(before - after, float), num_draws, seed)
    )
    tasks = [
        training_cost / each if each > 0 else math.inf for each in (saving.value, saving.high, saving.low)
    ]
    return Interval(*tasks)


def performance_profile(method: NDArray, crossed: NDArray, oracle: NDArray, factors: NDArray) -> NDArray:
    """The part of all runs that cross within `factor` times the oracle's time, for each factor.

        mean [crossed and T_method <= factor T_oracle]

    It rises with the factor, to the part that crosses at all: censored runs never count.
    """
    check_times(method, oracle)
    after, best = pair(method, oracle)
    reached = pair(np.asarray(crossed, bool), after)[0]
    ratio = np.where(reached, after / best, np.inf)
    return (ratio[None] <= np.asarray(factors, float)[:, None, None]).mean((1, 2))
