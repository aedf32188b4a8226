"""Trying rates on the shifted task, with the trials on the clock."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from metalearn_lib.statistics.paired import check_times


def trial_costs(times_by_rate: NDArray, order: Sequence[int], num_tasks: int = 1) -> NDArray:
    """Mean log cost per task `(k + 1,)` of tuning on B with 0, 1, ... k = len(order) trials.

        C_k(i, j) = sum_{r < k} T_{order[r]}(j) / num_tasks + T_best(i),   best = argmin_{r < k} T_{order[r]}(j)
        c_k       = mean_{i != j} log C_k(i, j)

    The trials run on instance j, the chosen rate on another instance i: tuning and scoring never share an instance.
    Without a trial the first rate is taken, so that one trial costs more and brings nothing. The sum is not
    restricted again: a cost may exceed the cap. With ever more tasks only the choice of the rate is left.

    Args:
        times_by_rate: restricted times `(rates, instances)`, 2 instances at least.
        order: rows in the order in which they are tried; the first is the rate tuned on A.
        num_tasks: tasks of B that share the trials.

    Raises:
        ValueError: with fewer than 2 instances or fewer than 1 task.
    """
    check_times(times_by_rate)
    times = np.asarray(times_by_rate, float)[list(order)]
    if times.shape[1] < 2 or num_tasks < 1:
        raise ValueError(
            f"{times.shape[1]} instances and num_tasks={num_tasks}: tuning and scoring need 2 different instances and "
            "1 task; give more."
        )
    others = ~np.eye(times.shape[1], dtype=bool)
    costs = [np.log(times[0]).mean()]
    for k in range(1, len(times) + 1):
        deployed = times[times[:k].argmin(0)]
        total = times[:k].sum(0)[:, None] / num_tasks + deployed
        costs.append(np.log(total)[others].mean())
    return np.array(costs)


def trials_to_overtake(
    times_by_rate: NDArray, order: Sequence[int], method_times: NDArray, num_tasks: int = 1
) -> float:
    """k*: the fewest trials on B with which plain SGD is sooner than the method; `inf` is never.

        k* = min {k: c_k < mean log T_method},   c_k of `trial_costs`

    0 where the rate tuned on A is already sooner.
    """
    check_times(method_times)
    sooner = np.flatnonzero(trial_costs(times_by_rate, order, num_tasks) < np.log(method_times).mean())
    return float(sooner[0]) if len(sooner) else math.inf
