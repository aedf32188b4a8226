"""Who fails to cross, paired."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from metalearn_lib.statistics.paired import Interval, mean_draws, pair, percentile_interval


class FailureDifference(NamedTuple):
    """Failure rate of the method minus that of the baseline, who alone failed how often, and McNemar's p-value."""

    difference: Interval
    only_baseline_failed: int
    only_method_failed: int
    p_value: float


def failure_difference(
    baseline_crossed: NDArray, method_crossed: NDArray, num_draws: int = 10_000, seed: int = 0
) -> FailureDifference:
    """Does one fail more often? Exact, two-sided, from the pairs in which just one of them fails.

        p = min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c)))

    No such pair gives p = 1 and an interval of width 0, which is no proof of equality. With more than one meta-seed the
    pairs are not independent: p is `nan`, and the interval alone, over both, may be read.

    Args:
        baseline_crossed, method_crossed: bool `(instances,)` or `(meta_seeds, instances)`.

    References: McNemar (1947) [mcnemar1947note].
    """
    before, after = pair(np.asarray(baseline_crossed, bool), np.asarray(method_crossed, bool))
    difference = before.astype(float) - after.astype(float)
    b, c = int((after & ~before).sum()), int((before & ~after).sum())
    p_value = min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5))) if len(before) == 1 else float("nan")
    draws = mean_draws(difference, num_draws, seed)
    return FailureDifference(percentile_interval(difference.mean(), draws), b, c, p_value)
