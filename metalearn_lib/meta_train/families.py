"""The distribution over families that meta-training draws its tasks from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Generator, rand, randint

from metalearn_lib import shifts
from metalearn_lib.shifts import Wrapped
from metalearn_lib.tasks import Moons, Spirals, TaskFamily
from metalearn_lib.types import Task

FAMILIES: dict[str, Callable[[TaskFamily, float], TaskFamily]] = shifts.FAMILIES | {
    "axis_anisotropy": lambda family, u: shifts.AxisAnisotropy(family, 64**u),
    "rotate": lambda family, u: shifts.Rotate(family, 180 * u),
    "imbalance": lambda family, u: shifts.Imbalance(family, 0.25 + 0.65 * u),
    "label_noise": lambda family, u: shifts.LabelNoise(family, 0.4 * u),
    "class_noise": lambda family, u: shifts.ClassNoise(family, 0.3 * u),
    "overlap": lambda family, u: shifts.Overlap(family, 3**u),
    "corruption": lambda family, u: shifts.Corruption(family, 0.4 * u),
}
"""What meta-training may draw, with a severity that `u` in [0, 1) picks: the contest's mixture, and every other shift
of task A that leaves the number of features and classes, and so the learner, as they are."""

STRUCTURES: dict[str, Callable[[TaskFamily, float], TaskFamily]] = {
    "moons": lambda family, u: Moons(),
    "spirals": lambda family, u: Spirals(),
    "embedding": lambda family, u: shifts.Embedding(family, round(2 * 32**u)),
    "nuisance": lambda family, u: shifts.Nuisance(family, 1 + int(16 * u)),
    "num_classes": lambda family, u: shifts.NumClasses(family, 2 + int(15 * u)),
}
"""Families of other numbers of features or classes. Only tasks of one shape stack, so a chunk of tasks is of one of
them, with one severity."""


@dataclass(frozen=True)
class RandomFamily(Wrapped):
    """A distribution over families: each task is of one of them, with a severity of its own.

    Over the contest's own mixture it draws the tasks of `shifts.RandomShift`; with `names=("home",)` those of `family`
    itself, up to the seeds.

    Args:
        family: task A's.
        names: families to draw from with equal chances, names in `FAMILIES`; repeat one to make it likelier.

    Raises:
        ValueError: for a name that is not in `FAMILIES`, or no name.
    """

    family: TaskFamily
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in FAMILIES]
        if unknown or not self.names:
            known = ", ".join(FAMILIES | STRUCTURES)
            raise ValueError(f"families {list(self.names)} must be one or more of {known}.")

    def sample(self, generator: Generator) -> Task:
        name = self.names[int(randint(len(self.names), (), generator=generator))]
        return FAMILIES[name](self.family, float(rand((), generator=generator))).sample(generator)
