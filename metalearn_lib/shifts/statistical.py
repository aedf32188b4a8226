"""Shifts of how points and labels are spread: the problem becomes harder or lopsided, and its geometry stays."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from metalearn_lib.shifts.base import Shift
from metalearn_lib.tasks import GaussianMixture, RealData, split
from metalearn_lib.types import Task


class LabelNoise(Shift):
    """Replace each *training* label, with probability `severity`, by one of the other classes at random.

    Held-out labels stay clean, so that the threshold is on what there is to learn.
    """

    lowest, highest, identity, unit = 0.0, 0.8, 0.0, "probability that a training label is wrong"

    def apply(self, task: Task, generator: Generator) -> Task:
        wrong = torch.rand(len(task.y), generator=generator) < self.severity
        other = 1 + torch.randint(self.num_classes - 1, (len(task.y),), generator=generator)
        return task._replace(y=torch.where(wrong, (task.y + other) % self.num_classes, task.y))


class ClassNoise(Shift):
    """Replace each training label, with probability `severity`, by the next class: an error with a direction."""

    lowest, highest, identity, unit = 0.0, 0.45, 0.0, "probability that a training label is the next one"

    def apply(self, task: Task, generator: Generator) -> Task:
        wrong = torch.rand(len(task.y), generator=generator) < self.severity
        return task._replace(y=torch.where(wrong, (task.y + 1) % self.num_classes, task.y))


class Corruption(Shift):
    """Replace each feature of each point, with probability `severity`, by standard normal noise: a flaky sensor."""

    lowest, highest, identity, unit = 0.0, 0.9, 0.0, "probability that a feature is noise"

    def apply(self, task: Task, generator: Generator) -> Task:
        def corrupted(x: Tensor) -> Tensor:
            lost = torch.rand(x.shape, generator=generator) < self.severity
            return torch.where(lost, torch.randn(x.shape, generator=generator), x)

        return task._replace(x=corrupted(task.x), x_test=corrupted(task.x_test))


class Imbalance(Shift):
    """Give the first class `severity` of all points, and the others equal parts of the rest.

    The points come from a larger draw of the family, of which each class keeps as many as it is due.
    """

    lowest, highest, identity, unit = 0.05, 0.99, 0.25, "share of the first class; 0.25 of four is even"

    def sample(self, generator: Generator) -> Task:
        family = _mixture(self.family, "imbalance")
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


class Overlap(Shift):
    """Blobs `severity` times as wide, in task A's units: classes that cannot be told apart as well."""

    lowest, highest, identity, unit = 0.25, 8.0, 1.0, "a factor on the spread of a blob"

    def sample(self, generator: Generator) -> Task:
        family = _mixture(self.family, "overlap")
        wider = replace(family, spread=family.spread * self.severity)
        # the family divides by its own standard deviation, and preprocessing stays task A's
        frozen = math.hypot(wider.separation, wider.spread) / math.hypot(family.separation, family.spread)
        task = wider.sample(generator)
        return task._replace(x=task.x * frozen, x_test=task.x_test * frozen)


class NumClasses(Shift):
    """`severity` classes in place of four."""

    lowest, highest, identity, unit, whole = 2.0, 64.0, 4.0, "classes", True

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        return int(self.severity)

    def sample(self, generator: Generator) -> Task:
        return replace(_mixture(self.family, "num_classes"), num_classes=self.num_classes).sample(generator)


def _mixture(family: object, name: str) -> GaussianMixture:
    if not isinstance(family, GaussianMixture):
        raise ValueError(
            f"the shift {name!r} changes how a GaussianMixture is drawn, and this is {type(family).__name__}; put it "
            "inside other shifts, next to the mixture."
        )
    return family


class NaturalSplit(Shift):
    """Real data on one side of a natural divide: the digits with more ink, the larger masses, the stronger wines.

    Tasks are random splits, two thirds for training, of the rows that lie above the `severity` quantile of the family's
    `divide`. Preprocessing stays that of the family.

    Raises:
        ValueError: for a family that is not `RealData`.
    """

    lowest, highest, identity, unit = 0.0, 0.8, 0.0, "quantile of the number by which the data divide"

    @property
    def num_points(self) -> int:  # type: ignore[override]
        count = len(self._above()[1])
        return count - count // 3

    def sample(self, generator: Generator) -> Task:
        return split(*self._above(), self.num_points, generator)

    def _above(self) -> tuple[Tensor, Tensor]:
        if not isinstance(self.family, RealData):
            raise ValueError(
                f"a natural split is one of real data, and this is {type(self.family).__name__}; use Digits, "
                "BreastCancer or Wine."
            )
        x, y = self.family.rows()
        number = self.family.divide()
        above = number >= number.quantile(self.severity)
        return x[above], y[above]
