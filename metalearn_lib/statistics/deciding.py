"""From bootstrap draws to decisions over several hypotheses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metalearn_lib.statistics.paired import EQUIVALENCE, Interval, log_speedup_draws, restricted_speedup


def faster_p(
    baseline: NDArray, method: NDArray, margin: float = EQUIVALENCE, num_draws: int = 10_000, seed: int = 0
) -> float:
    """One-sided bootstrap p-value of "the speed-up exceeds `margin`".

        (1 + #{speed-up* <= margin}) / (1 + draws)

    A margin of 1.10 asks for "better", 1/1.10 for "no harm". Never 0: the least is 1 / (1 + draws).
    """
    draws = log_speedup_draws(baseline, method, num_draws, seed)[1]
    return float((1 + (draws <= np.log(margin)).sum()) / (1 + len(draws)))


def equivalent_p(baseline: NDArray, method: NDArray, num_draws: int = 10_000, seed: int = 0) -> float:
    """The larger of two one-sided p-values: above 1/1.10, and below 1.10."""
    draws = log_speedup_draws(baseline, method, num_draws, seed)[1]
    outside = max((draws <= -np.log(EQUIVALENCE)).sum(), (draws >= np.log(EQUIVALENCE)).sum())
    return float((1 + outside) / (1 + len(draws)))


def holm(p_values: NDArray) -> NDArray:
    """Adjusted p-values: the family errs with probability at most alpha where those up to alpha are claimed.

        p~_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)),   p_(1) <= ... <= p_(m)

    One hypothesis alone is not adjusted.

    References: Holm (1979) [holm1979simple].
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values, kind="stable")
    steps = np.minimum(1.0, np.arange(len(order), 0, -1) * p_values[order])
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


class Hypothesis(NamedTuple):
    """What is claimed of the speed-up of `method` over `baseline`."""

    claim: Literal["better", "no harm", "equivalent"]
    baseline: NDArray
    method: NDArray


class Judgement(NamedTuple):
    """Holm's adjusted p-value, the interval at the step's level, and whether the claim holds."""

    p_value: float
    speedup: Interval
    holds: bool


def judge(
    hypotheses: Sequence[Hypothesis], alpha: float = 0.05, num_draws: int = 10_000, seed: int = 0
) -> list[Judgement]:
    """Decide a family of hypotheses together, each one-sided at alpha / 2 as its two-sided interval is.

    The i-th smallest of m p-values goes with an interval of level `1 - alpha / (m - i + 1)`. One hypothesis alone
    is judged by its 95 % interval.

    References: Holm (1979) [holm1979simple].
    """

    def p_value(claim: str, baseline: NDArray, method: NDArray) -> float:
        if claim == "equivalent":
            return equivalent_p(baseline, method, num_draws, seed)
        margin = EQUIVALENCE if claim == "better" else 1 / EQUIVALENCE
        return faster_p(baseline, method, margin, num_draws, seed)

    p_values = np.array([p_value(*each) for each in hypotheses])
    ranks = p_values.argsort(kind="stable").argsort()
    levels = alpha / (len(hypotheses) - ranks)
    return [
        Judgement(
            float(p),
            restricted_speedup(each.baseline, each.method, num_draws, seed, level),
            bool(p <= alpha / 2),
        )
        for each, p, level in zip(hypotheses, holm(p_values), levels, strict=True)
    ]
