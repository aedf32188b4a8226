"""Paired statistics of censored times, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metalearn_lib.statistics.tunings import Runs, over_tunings

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]

EQUIVALENCE = 1.10
"""Speed-ups within [1/1.10, 1.10] count as no difference."""


Compared = Runs | Sequence[Runs]
"""Times in a cell, or in each of several."""


class Interval(NamedTuple):
    """An estimate and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def log_ratios(baseline: NDArray, method: NDArray) -> NDArray:
    """Paired log speed-ups: positive where `method` needed fewer steps.

    Args:
        baseline, method: steps to the threshold `(instances,)`, above 0, censored ones at the common cap.

    Raises:
        ValueError: when the two do not pair, or a time is not positive and finite.
    """
    baseline, method = np.asarray(baseline, float), np.asarray(method, float)
    if baseline.shape != method.shape or baseline.ndim != 1 or len(baseline) < 1:
        raise ValueError(
            f"times of shapes {baseline.shape} and {method.shape} do not pair; both must be (instances,) over the same "
            "instances, with censored runs kept at the cap."
        )
    if not (
        np.isfinite(baseline).all() and np.isfinite(method).all() and min(baseline.min(), method.min()) > 0
    ):
        raise ValueError(
            "a time is not a positive number; a run that never crosses counts as the cap, never as inf."
        )
    return np.log(baseline) - np.log(method)


def pair(baseline: NDArray, method: NDArray) -> tuple[NDArray, NDArray]:
    """Both as `(meta_seeds, instances)`; one without meta-seeds is the same for all of them.

    Raises:
        ValueError: when instances or meta-seeds do not pair, or there are none.
    """
    baseline, method = np.atleast_2d(baseline), np.atleast_2d(method)
    shapes = baseline.shape, method.shape
    if (
        max(baseline.ndim, method.ndim) > 2
        or baseline.shape[1] != method.shape[1]
        or 0 in shapes[0] + shapes[1]
        or len({shape[0] for shape in shapes} - {1}) > 1
    ):
        raise ValueError(
            f"shapes {baseline.shape} and {method.shape} do not pair; give (instances,) or (meta_seeds, instances) "
            "over the same instances and meta-seeds."
        )
    baseline, method = np.broadcast_arrays(baseline, method)
    return baseline, method


def check_times(*times: NDArray) -> None:
    """Refuse a time that is not positive and finite."""
    if not all(np.isfinite(each).all() and (np.asarray(each) > 0).all() for each in times):
        raise ValueError(
            "a time is not a positive number; a run that never crosses counts as the cap, never as inf."
        )


@lru_cache(maxsize=4)  # drawing takes longer than all that is done with a draw
def two_way_counts(shape: tuple[int, int], num_draws: int, seed: int) -> tuple[NDArray, NDArray]:
    """How often each draw holds each meta-seed `(draws, meta_seeds)` and each instance `(draws, instances)`.

    The arrays are shared between callers, and cannot be written to.
    """
    random = np.random.default_rng(seed)
    instances = random.multinomial(shape[1], np.full(shape[1], 1 / shape[1]), size=num_draws)
    seeds = random.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=num_draws)
    for each in (seeds, instances):
        each.flags.writeable = False
    return seeds, instances


@lru_cache(maxsize=4)
def resampled(count: int, num_draws: int = 4000, seed: int = 1) -> NDArray:
    """How often each draw holds each of `count` instances, over `count`: `(draws, count)`; see `two_way_counts`."""
    random = np.random.default_rng(seed)
    counts = random.multinomial(count, np.full(count, 1 / count), size=num_draws).astype(np.float32) / count
    counts.flags.writeable = False
    return counts


def mean_draws(values: NDArray, num_draws: int, seed: int) -> NDArray:
    """Bootstrap means `(draws,)` of `values` `(meta_seeds, instances)`, both axes drawn with replacement."""
    seeds, instances = two_way_counts(values.shape, num_draws, seed)
    return np.einsum("di,di->d", seeds @ values, instances) / values.size


def log_speedup_draws(
    baseline: Compared, method: Compared, num_draws: int = 10_000, seed: int = 0
) -> tuple[float, NDArray]:
    """The mean log speed-up, and its bootstrap draws.

    Over several cells it is the mean of theirs, with the same instances, meta-seeds and tunings drawn in all of them.
    """

    def one(before: NDArray, after: NDArray) -> tuple[float, NDArray]:
        if np.ndim(before) == np.ndim(after) == 1:
            ratios = log_ratios(before, after)
            picked = np.random.default_rng(seed).integers(len(ratios), size=(num_draws, len(ratios)))
            return float(ratios.mean()), ratios[picked].mean(1)
        check_times(before, after)
        ratios = np.subtract(*map(np.log, pair(before, after)))
        return float(ratios.mean()), mean_draws(ratios, num_draws, seed)

    return over_cells(one, (baseline, method), num_draws, seed)


def over_cells(
    statistic: Callable[..., tuple[float, NDArray]], times: Sequence[Compared], num_draws: int, seed: int
) -> tuple[float, NDArray]:
    """`over_tunings` of times in one cell; of lists, one time for each cell, the mean over cells."""
    if not any(isinstance(each, Sequence) for each in times):
        return over_tunings(statistic, times, num_draws, seed)  # type: ignore[arg-type]
    cells = zip(*times, strict=True)  # type: ignore[arg-type]
    values, draws = zip(*(over_tunings(statistic, each, num_draws, seed) for each in cells), strict=True)
    return float(np.mean(values)), np.mean(draws, axis=0)


def percentile_interval(value: float, draws: NDArray, alpha: float = 0.05) -> Interval:
    """The estimate with the central `1 - alpha` of its draws."""
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    return Interval(float(value), float(low), float(high))


def restricted_speedup(
    baseline: Compared, method: Compared, num_draws: int = 10_000, seed: int = 0, alpha: float = 0.05
) -> Interval:
    """How many times sooner `method` crosses, both restricted to the cap, with a paired bootstrap.

        exp mean_si [log min(T_baseline_si, cap) - log min(T_method_si, cap)]

    Identical times give 1 with an interval of width 0. The interval is the percentile interval of means over
    instances drawn with replacement; over meta-seeds drawn with replacement, independently, where an array has them;
    and over what tuning may have given, where there are `Times`, of which the value is the mean. Without a meta-seed
    axis it says nothing of other meta-seeds. With five it says little: the draws hold 4/5 of the variance between five
    seeds, so the interval is too narrow in its meta-seed part. Read it beside the seeds themselves.

    Args:
        baseline, method: restricted times `(instances,)` or `(meta_seeds, instances)`; equal rows are paired. Or
            `Times`; or lists of either, of several cells, which weigh the same.
        num_draws: bootstrap draws.
        seed: of the draws; the same seed gives the same interval.
        alpha: 1 minus the level of the interval.

    References: Efron and Tibshirani (1993) [efron1993introduction]; Owen (2007) [owen2007pigeonhole].
    """
    value, draws = log_speedup_draws(baseline, method, num_draws, seed)
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    return Interval(*(float(np.exp(number)) for number in (value, low, high)))


def mean_interval(values: NDArray, num_draws: int = 10_000, seed: int = 0) -> Interval:
    """The mean of a few values, as of meta-seeds, with its percentile bootstrap interval."""
    values = np.asarray(values, float)
    draws = np.random.default_rng(seed).integers(len(values), size=(num_draws, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def verdict(speedup: Interval) -> Verdict:
    """What an interval allows to be said against the equivalence zone.

    Better when it lies wholly above 1.10, worse wholly below 1/1.10, equivalent wholly between, else inconclusive.
    """
    if speedup.low > EQUIVALENCE:
        return "better"
    if speedup.high < 1 / EQUIVALENCE:
        return "worse"
    if speedup.low >= 1 / EQUIVALENCE and speedup.high <= EQUIVALENCE:
        return "equivalent"
    return "inconclusive"


def describe(method: str, baseline: str, speedup: Interval) -> str:
    """The sentence of the verdict: who, how many times as fast, and what may be said of it."""
    told = {
        "better": "sooner",
        "worse": "later",
        "equivalent": "neither sooner nor later by more than a tenth",
        "inconclusive": "and the interval allows no verdict",
    }[verdict(speedup)]
    ratio = f"{speedup.value:.2f} times as fast as {baseline} (95 % interval {speedup.low:.2f} to {speedup.high:.2f})"
    return f"{method} is {ratio}: {told}."
