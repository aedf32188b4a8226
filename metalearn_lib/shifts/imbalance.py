"""One class has most of the points."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from metalearn_lib.shifts.base import Shift, mixture_of
from metalearn_lib.types import Task


class Imbalance(Shift):
    """Give the first class `severity` of all points, and the others equal parts of the rest.

    The points come from a larger draw of the family, of which each class keeps as many as it is due.
    """

    lowest, highest, identity, unit = 0.05, 0.99, 0.25, "share of the first class; 0.25 of four is even"
    stops = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95)

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 0.25 + 0.65 * u

    def sample(self, generator: Generator) -> Task:
        family = mixture_of(self.family, "imbalance")
        factor = math.ceil(1.5 * self.num_classes * max(self.severity, 1 - self.severity))
        pool = replace(family, num_points=factor * family.num_points, num_test=factor * family.num_test)
        task = pool.sample(generator)
        kept = self._keep(task.y, family.num_points, generator)
        kept_test = self._keep(task.y_test, family.num_test, generator)
        return Task(task.x[kept], task.y[kept], task.x_test[kept_test], task.y_test[kept_test])

    def _keep(self, y: Tensor, count: int, generator: Generator) -> Tensor:
        first = round(self.severity * count)
        rest = [(count - first) // (self.num_classes - 1)] * (self.num_classes - 1)
        rest[0] += count - first - sum(rest)
        places = [(y == k).nonzero().squeeze(1)[:due] for k, due in enumerate([first, *rest])]
        kept = torch.cat(places)
        return kept[torch.randperm(len(kept), generator=generator)]
