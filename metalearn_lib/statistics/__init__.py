"""Paired statistics of censored times, in numpy."""

from metalearn_lib.statistics.deciding import equivalent_p, faster_p, holm
from metalearn_lib.statistics.failures import FailureDifference, failure_difference
from metalearn_lib.statistics.paired import (
    EQUIVALENCE,
    Interval,
    Verdict,
    describe,
    log_ratios,
    mean_interval,
    restricted_speedup,
    verdict,
)
from metalearn_lib.statistics.pooling import Pooled, pool, pool_speedups
from metalearn_lib.statistics.survival import survival_curve
from metalearn_lib.statistics.times import (
    break_even_tasks,
    headroom_interval,
    performance_profile,
    ratio_of_means,
    ratio_of_medians,
    regret,
    win_probability,
)
from metalearn_lib.statistics.trials import trial_costs, trials_to_overtake
from metalearn_lib.statistics.tunings import Times

__all__ = [
    "EQUIVALENCE",
    "FailureDifference",
    "Interval",
    "Pooled",
    "Times",
    "Verdict",
    "break_even_tasks",
    "describe",
    "equivalent_p",
    "failure_difference",
    "faster_p",
    "headroom_interval",
    "holm",
    "log_ratios",
    "mean_interval",
    "performance_profile",
    "pool",
    "pool_speedups",
    "ratio_of_means",
    "ratio_of_medians",
    "regret",
    "restricted_speedup",
    "survival_curve",
    "trial_costs",
    "trials_to_overtake",
    "verdict",
    "win_probability",
]
