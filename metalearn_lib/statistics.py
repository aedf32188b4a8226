"""Paired statistics of censored times, in numpy."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]

EQUIVALENCE = 1.10
"""Speed-ups within [1/1.10, 1.10] count as no difference."""


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


def restricted_speedup(
    baseline: NDArray, method: NDArray, num_draws: int = 10_000, seed: int = 0
) -> Interval:
    """How many times sooner `method` crosses, both restricted to the cap, with a paired bootstrap over instances.

        exp mean_i [log min(T_baseline_i, cap) - log min(T_method_i, cap)]

    Identical times give 1 with an interval of width 0. The interval is the percentile interval of means over
    instances drawn with replacement; it says nothing of other meta-seeds.

    Args:
        baseline, method: restricted times `(instances,)` of the same instances.
        num_draws: bootstrap draws.
        seed: of the draws; the same seed gives the same interval.

    References: Efron and Tibshirani (1993) [efron1993introduction].
    """
    ratios = log_ratios(baseline, method)
    draws = np.random.default_rng(seed).integers(len(ratios), size=(num_draws, len(ratios)))
    low, high = np.quantile(ratios[draws].mean(1), [0.025, 0.975])
    return Interval(*(float(np.exp(number)) for number in (ratios.mean(), low, high)))


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


def headroom_captured(baseline: NDArray, method: NDArray, oracle: NDArray) -> float:
    """The part of the oracle's gain that `method` gets; `nan` where the oracle gains less than 1.2-fold.

        (log T_baseline - log T_method) / (log T_baseline - log T_oracle),   means over instances

    1 is as good as the oracle, 0 no better than the baseline, above 1 ahead of the oracle, below 0 harm.
    """
    room = log_ratios(baseline, oracle).mean()
    return float(log_ratios(baseline, method).mean() / room) if room >= np.log(1.2) else float("nan")


def describe(method: str, baseline: str, speedup: Interval) -> str:
    """The sentence of the verdict: who, how many times as fast, and what may be said of it."""
    told = {
        "better": "sooner",
        "worse": "later",
        "equivalent": "neither sooner nor later by more than a tenth",
        "inconclusive": "and the interval allows no verdict",
    }[verdict(speedup)]
    ratio = f"{speedup.value:.2f} times as fast as {baseline} (95 % interval {speedup.low:.2f} to {speedup.high:.2f})"
    return f"{method} crosses {ratio}: {told}."
