"""One answer from several cells that differ."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from metalearn_lib.statistics.paired import Interval


class Pooled(NamedTuple):
    """The mean over cells, where a new cell may lie (same value), and the variance between cells."""

    mean: Interval
    prediction: Interval
    tau_squared: float


def pool(estimates: NDArray, standard_errors: NDArray) -> Pooled:
    """Random effects over cells: DerSimonian and Laird's variance, Hartung and Knapp's interval.

        tau^2 = max(0, (Q - (m - 1)) / (sum w - sum w^2 / sum w)),   w = 1 / se^2
        mean  = sum v y / sum v,   v = 1 / (se^2 + tau^2)
        mean +- t_{m-1} sqrt(sum v (y - mean)^2 / ((m - 1) sum v))
        prediction: mean +- t_{m-2} sqrt(tau^2 + 1 / sum v)

    Equal estimates give tau^2 = 0 and the fixed-effect mean, with a mean interval of width 0.

    Args:
        estimates: log speed-ups `(cells,)`, 3 at least.
        standard_errors: of the same, above 0.

    Raises:
        ValueError: with fewer than 3 cells, or a standard error that is not positive.

    References: Higgins et al. (2009) [higgins2009re].
    """
    y, se = np.asarray(estimates, float), np.asarray(standard_errors, float)
    if y.ndim != 1 or y.shape != se.shape or len(y) < 3 or not (se > 0).all():
        raise ValueError(
            f"estimates {y.shape} and standard errors {se.shape}: pooling needs at least 3 cells and standard errors "
            "above 0; leave out cells without variation."
        )
    w = se**-2
    excess = (w * (y - np.average(y, weights=w)) ** 2).sum() - (len(y) - 1)
    tau_squared = max(0.0, float(excess / (w.sum() - (w**2).sum() / w.sum())))
    v = 1 / (se**2 + tau_squared)
    mean = float(np.average(y, weights=v))
    spread = float(np.sqrt((v * (y - mean) ** 2).sum() / ((len(y) - 1) * v.sum())))
    mean_width = float(stdtrit(len(y) - 1, 0.975)) * spread
    new_width = float(stdtrit(len(y) - 2, 0.975) * np.sqrt(tau_squared + 1 / v.sum()))
    return Pooled(
        Interval(mean, mean - mean_width, mean + mean_width),
        Interval(mean, mean - new_width, mean + new_width),
        tau_squared,
    )
