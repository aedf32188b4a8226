"""From bootstrap draws to decisions over several hypotheses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from metalearn_lib.statistics.paired import EQUIVALENCE, Compared, log_speedup_draws


def faster_p(
    baseline: Compared, method: Compared, margin: float = EQUIVALENCE, num_draws: int = 10_000, seed: int = 0
) -> float:
    """One-sided bootstrap p-value of "the speed-up exceeds `margin`".

        (1 + #{speed-up* <= margin}) / (1 + draws)

    A margin of 1.10 asks for "better", 1/1.10 for "no harm". Never 0: the least is 1 / (1 + draws).
    """
    draws = log_speedup_draws(baseline, method, num_draws, seed)[1]
    return float((1 + (draws <= np.log(margin)).sum()) / (1 + len(draws)))


def equivalent_p(baseline: Compared, method: Compared, num_draws: int = 10_000, seed: int = 0) -> float:
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
