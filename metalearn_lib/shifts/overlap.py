"""Classes that cannot be told apart as well."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Generator

from metalearn_lib.shifts.base import Shift, mixture_of
from metalearn_lib.types import Task


class Overlap(Shift):
    """Blobs `severity` times as wide, in task A's units: classes that cannot be told apart as well."""

    lowest, highest, identity, unit = 0.25, 8.0, 1.0, "a factor on the spread of a blob"
    symbol, stops = "×", tuple(2.0 ** (power / 2) for power in range(-4, 7))

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 3**u

    def sample(self, generator: Generator) -> Task:
        family = mixture_of(self.family, "overlap")
        wider = replace(family, spread=family.spread * self.severity)
        # the family divides by its own standard deviation, and preprocessing stays task A's
        frozen = math.hypot(wider.separation, wider.spread) / math.hypot(family.separation, family.spread)
        task = wider.sample(generator)
        return task._replace(x=task.x * frozen, x_test=task.x_test * frozen)
