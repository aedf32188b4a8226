"""Another number of classes."""

from __future__ import annotations

from dataclasses import replace

from torch import Generator

from metalearn_lib.shifts.base import Shift, mixture_of
from metalearn_lib.types import Task


class NumClasses(Shift):
    """`severity` classes in place of four."""

    lowest, highest, identity, unit, whole = 2.0, 64.0, 4.0, "classes", True
    symbol, reshapes, stops = "classes", True, (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 2 + int(15 * u)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return int(self.severity)

    def sample(self, generator: Generator) -> Task:
        return replace(mixture_of(self.family, "num_classes"), num_classes=self.num_classes).sample(generator)
