"""What else can be said of paired times, beside the speed-up."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from metalearn_lib.statistics.paired import (
    Compared,
    Interval,
    check_times,
    mean_draws,
    over_cells,
    pair,
    percentile_interval,
    restricted_speedup,
    two_way_counts,
)
from metalearn_lib.statistics.tunings import Runs, over_tunings


def ratio_of_means(baseline: Runs, method: Runs, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """Mean restricted time of the baseline over that of the method; long runs weigh most."""

    def one(before: NDArray, after: NDArray) -> tuple[float, NDArray]:
        check_times(before, after)
        before, after = pair(before, after)
        draws = mean_draws(before, num_draws, seed) / mean_draws(after, num_draws, seed)
        return float(before.mean() / after.mean()), draws

    return percentile_interval(*over_tunings(one, (baseline, method), num_draws, seed))


def weighted_medians(values: NDArray, counts: NDArray) -> NDArray:
    """The median `(draws,)` of `values` `(n,)`, each taken as often as `counts` `(draws, n)` says."""
    order = np.argsort(values)
    reached = counts[:, order].cumsum(1)
    half = reached[:, -1:] / 2
    lower, upper = (reached >= half).argmax(1), (reached > half).argmax(1)
    return (values[order][lower] + values[order][upper]) / 2


def ratio_of_medians(baseline: Runs, method: Runs, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """Median restricted time of the baseline over that of the method; where half are censored it is the cap's."""

    def one(before: NDArray, after: NDArray) -> tuple[float, NDArray]:
        check_times(before, after)
        before, after = pair(before, after)
        ratios = []
        # a block of draws at a time bounds the memory, not the result
        for seeds, instances in zip(
            *(np.array_split(each, 20) for each in two_way_counts(before.shape, num_draws, seed)), strict=True
        ):
            counts = (seeds[:, :, None] * instances[:, None, :]).reshape(len(seeds), -1)
            ratios.append(weighted_medians(before.ravel(), counts) / weighted_medians(after.ravel(), counts))
        return float(np.median(before) / np.median(after)), np.concatenate(ratios)

    return percentile_interval(*over_tunings(one, (baseline, method), num_draws, seed))


def win_probability(baseline: Runs, method: Runs, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """P(T_method < T_baseline) + P(tie) / 2 on the same instance; identical times give 1/2."""

    def one(before: NDArray, after: NDArray) -> tuple[float, NDArray]:
        check_times(before, after)
        wins = (1 + np.sign(np.subtract(*pair(before, after)))) / 2
        return float(wins.mean()), mean_draws(wins, num_draws, seed)

    return percentile_interval(*over_tunings(one, (baseline, method), num_draws, seed))


def headroom_interval(
    baseline: Compared, method: Compared, oracle: Compared, num_draws: int = 10_000, seed: int = 0
) -> Interval:
    """The part of the oracle's gain that `method` gets, paired; all `nan` where the oracle gains less than 1.2-fold.

        sum (log T_baseline - log T_method) / sum (log T_baseline - log T_oracle)

    1 is as good as the oracle, 0 no better than the baseline, above 1 ahead of the oracle, below 0 harm. An oracle's
    own times as the method give 1 with width 0. Of lists, gain and room are means over cells.
    """

    def gain(before: NDArray, after: NDArray) -> tuple[float, NDArray]:
        check_times(before, after)
        ratios = np.subtract(*map(np.log, pair(before, after)))
        return float(ratios.mean()), mean_draws(ratios, num_draws, seed)

    gained, draws = over_cells(gain, (baseline, method), num_draws, seed)
    room, room_draws = over_cells(gain, (baseline, oracle), num_draws, seed)
    if room < np.log(1.2):
        return Interval(math.nan, math.nan, math.nan)
    return percentile_interval(gained / room, draws / room_draws)


def regret(method: Compared, oracle: Compared, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """T_method / T_oracle, the geometric mean: 1 is as good as the oracle, 2 takes twice as long."""
    return restricted_speedup(method, oracle, num_draws, seed)


def break_even_tasks(
    training_cost: float, baseline: Compared, method: Compared, num_draws: int = 10_000, seed: int = 0
) -> Interval:
    """After how many tasks meta-training has paid for itself; `inf` is never.

        training_cost / mean(T_baseline - T_method)

    Args:
        training_cost: gradient evaluations of meta-training, discarded runs included.
        baseline, method: times in a cell, or in each of several.
    """

    def one(before: NDArray, after: NDArray) -> tuple[float, NDArray]:
        check_times(before, after)
        saved = np.subtract(*pair(before, after)).astype(float)
        return float(saved.mean()), mean_draws(saved, num_draws, seed)

    saving = percentile_interval(*over_cells(one, (baseline, method), num_draws, seed))
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
