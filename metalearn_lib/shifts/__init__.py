"""Shifts: a family in, a shifted family out, with a severity that is zero-effect at one end of its range.

Inputs are in standard deviations of the family that was shifted, and stay so: preprocessing is frozen from task A, as
in a deployed pipeline. A shift draws after its family has drawn, so one seed gives the same points before every shift
that does not change how they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.shifts.base import Shift, Wrapped
from metalearn_lib.shifts.geometric import (
    Anisotropy,
    AxisAnisotropy,
    Embedding,
    Nuisance,
    Rotate,
    Scale,
    Standardised,
    Translate,
)
from metalearn_lib.shifts.statistical import (
    ClassNoise,
    Corruption,
    Imbalance,
    LabelNoise,
    NaturalSplit,
    NumClasses,
    Overlap,
)
from metalearn_lib.tasks import TaskFamily
from metalearn_lib.types import Task

SHIFTS: dict[str, type[Shift]] = {
    "translate": Translate,
    "scale": Scale,
    "anisotropy": Anisotropy,
    "axis_anisotropy": AxisAnisotropy,
    "rotate": Rotate,
    "embedding": Embedding,
    "nuisance": Nuisance,
    "imbalance": Imbalance,
    "label_noise": LabelNoise,
    "class_noise": ClassNoise,
    "overlap": Overlap,
    "num_classes": NumClasses,
    "corruption": Corruption,
    "natural_split": NaturalSplit,
}


def make_shift(name: str, family: TaskFamily, severity: float) -> Shift:
    """The shift called `name` of `family`.

    Raises:
        ValueError: for a name that is not in `SHIFTS`, or a severity out of the shift's range.
    """
    if name not in SHIFTS:
        raise ValueError(f"shift {name!r} is unknown; use one of {', '.join(SHIFTS)}.")
    return SHIFTS[name](family, severity)


FAMILIES: dict[str, Callable[[TaskFamily, float], TaskFamily]] = {
    "home": lambda family, u: family,
    "translate": lambda family, u: Translate(family, 4 * u),
    "scale": lambda family, u: Scale(family, 8 ** (2 * u - 1)),
    "anisotropy": lambda family, u: Anisotropy(family, 64**u),
}
"""What meta-training may draw: the family as it is, or shifted with a severity that `u` in [0, 1) picks: a
translation of 0 to 4, a scale of 1/8 to 8 and an anisotropy of 1 to 64, the last two log-uniform."""


@dataclass(frozen=True)
class RandomShift(Wrapped):
    """A distribution over shifts: each task has one of its own, with a severity of its own.

    With `names=("home",)` it is the family itself, up to the seeds.

    Args:
        family: what is shifted.
        names: shifts to draw from with equal chances, names in `FAMILIES`; repeat one to make it likelier.

    Raises:
        ValueError: for a name that is not in `FAMILIES`, or no name.
    """

    family: TaskFamily
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        unknown = [name for name in self.names if name not in FAMILIES]
        if unknown or not self.names:
            raise ValueError(f"families {list(self.names)} must be one or more of {', '.join(FAMILIES)}.")

    def sample(self, generator: Generator) -> Task:
        name = self.names[int(torch.randint(len(self.names), (), generator=generator))]
        return FAMILIES[name](self.family, float(torch.rand((), generator=generator))).sample(generator)


__all__ = [
    "FAMILIES",
    "SHIFTS",
    "Anisotropy",
    "AxisAnisotropy",
    "ClassNoise",
    "Corruption",
    "Embedding",
    "Imbalance",
    "LabelNoise",
    "NaturalSplit",
    "Nuisance",
    "NumClasses",
    "Overlap",
    "RandomShift",
    "Rotate",
    "Scale",
    "Shift",
    "Standardised",
    "Translate",
    "Wrapped",
    "make_shift",
]
