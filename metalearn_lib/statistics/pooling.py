"""One answer from several cells that differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from metalearn_lib.statistics.paired import Interval, log_speedup_draws
from metalearn_lib.statistics.tunings import Runs, Times, settings, tunings_of

_LEAST = 1e-6
"""The standard error of a cell in which no instance differs from another."""


class Pooled(NamedTuple):
    """The mean over cells, where a new cell may lie (same value), and the variance between cells."""

    mean: Interval
    prediction: Interval
    tau_squared: float
    standard_error: float
    """of the mean"""
    num_cells: int

    def p_above(self, margin: float) -> float:
        """One-sided p-value of "the mean exceeds `margin`", by Student's t with `num_cells - 1` degrees of freedom."""
        gap = self.mean.value - margin
        if self.standard_error == 0:
            return float(gap <= 0)
        return float(stdtr(self.num_cells - 1, -gap / self.standard_error))


def pool_speedups(baselines: Sequence[Runs], methods: Sequence[Runs], num_draws: int = 2000) -> Pooled:
    """The log speed-up over cells, by `pool`; standard errors are those of the bootstrap in each cell.

    A tuning that all cells share moves all of them together: they are pooled at each of its choices, and the variance
    between these answers is added to the mean variance of one.

        mean = sum_k w_k m_k,   se^2 = sum_k w_k (se_k^2 + (m_k - mean)^2)

    Args:
        baselines, methods: for each cell, times as `restricted_speedup` takes them.
        num_draws: bootstrap draws in each cell.
    """
    pairs = list(zip(baselines, methods, strict=True))
    each_cells = [tunings_of(pair) for pair in pairs]
    shared = {
        name: weights for name, weights in each_cells[0].items() if all(name in each for each in each_cells)
    }
    found = []
    for weight, choices in settings(shared):
        at = [[each.at(choices) if isinstance(each, Times) else each for each in pair] for pair in pairs]
        estimates, draws = zip(
            *(log_speedup_draws(before, after, num_draws) for before, after in at), strict=True
        )
        errors = np.maximum([each.std() for each in draws], _LEAST)
        found.append((weight, pool(np.array(estimates), errors)))
    if len(found) == 1:
        return found[0][1]
    mean = sum(weight * each.mean.value for weight, each in found)

    def spread(of: Callable[[Pooled], float]) -> float:
        return float(
            np.sqrt(sum(weight * (of(each) ** 2 + (each.mean.value - mean) ** 2) for weight, each in found))
        )

    error = spread(lambda each: each.standard_error)
    width = float(stdtrit(len(pairs) - 1, 0.975)) * error
    t_new = float(stdtrit(len(pairs) - 2, 0.975))
    new = t_new * spread(lambda each: (each.prediction.high - each.mean.value) / t_new)
    return Pooled(
        Interval(mean, mean - width, mean + width),
        Interval(mean, mean - new, mean + new),
        sum(weight * each.tau_squared for weight, each in found),
        error,
        len(pairs),
    )


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
        spread,
        len(y),
    )
