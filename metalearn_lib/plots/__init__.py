"""One function per figure: data in, Axes out. Captions speak, so figures bear no titles."""

from metalearn_lib.plots.contest import (
    chain,
    crossings,
    headroom_map,
    profiles,
    sensitivity,
    speedups,
    survival,
    survivals,
)
from metalearn_lib.plots.meta_training import by_number, estimator_faults, learning_curves
from metalearn_lib.plots.own_models import own_loop, own_loop_svg, rescue, time_profile
from metalearn_lib.plots.planning import hours
from metalearn_lib.plots.runs import points, rate_paths, tasks, training, watched
from metalearn_lib.plots.style import COLOURS, ESTIMATOR_COLOURS, STYLE, WIDTH, use_style
from metalearn_lib.plots.update import steps

__all__ = [
    "COLOURS",
    "ESTIMATOR_COLOURS",
    "STYLE",
    "WIDTH",
    "by_number",
    "chain",
    "crossings",
    "estimator_faults",
    "headroom_map",
    "hours",
    "learning_curves",
    "own_loop",
    "own_loop_svg",
    "points",
    "profiles",
    "rate_paths",
    "rescue",
    "sensitivity",
    "speedups",
    "steps",
    "survival",
    "survivals",
    "tasks",
    "time_profile",
    "training",
    "use_style",
    "watched",
]
