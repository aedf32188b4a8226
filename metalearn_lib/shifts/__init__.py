"""Shifts: a family in, a shifted family out, with a severity that is zero-effect at one end of its range."""

from metalearn_lib.registry import Registry
from metalearn_lib.shifts.base import Shift
from metalearn_lib.tasks.base import TaskFamily

SHIFTS: Registry[type[Shift]] = Registry(
    "metalearn_lib.shifts.base:Shift",
    "translate scale anisotropy axis_anisotropy rotate embedding nuisance imbalance label_noise class_noise overlap"
    " num_classes corruption natural_split few_points",
)
"""The shifts by name."""


def make_shift(name: str, family: TaskFamily, severity: float) -> Shift:
    """The shift called `name` of `family`.

    Args:
        name: one of `SHIFTS`, or `module:Name` of one from outside.

    Raises:
        ValueError: for a name that there is not, or a severity out of the shift's range.
    """
    return SHIFTS.find(name)(family, severity)
