"""Shifts of where the points lie: classes are as separable as before, and training is not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from metalearn_lib.shifts.base import Shift, Wrapped
from metalearn_lib.tasks import TaskFamily
from metalearn_lib.types import Task


def _mapped(task: Task, matrix: Tensor, offset: Tensor) -> Task:
    """The task with every input `x` at `x @ matrix + offset`."""
    return task._replace(x=task.x @ matrix + offset, x_test=task.x_test @ matrix + offset)


class Translate(Shift):
    """Move every point by `severity` standard deviations in one random direction: `x + severity u`, `|u| = 1`."""

    lowest, highest, identity, unit = 0.0, 64.0, 0.0, "standard deviations of task A's inputs"

    def apply(self, task: Task, generator: Generator) -> Task:
        direction = torch.randn(self.num_features, generator=generator)
        return _mapped(task, torch.eye(self.num_features), self.severity * direction / direction.norm())


class Scale(Shift):
    """Multiply every input by `severity`: other units, or an un-normalised sensor."""

    lowest, highest, identity, unit = 1 / 64, 64.0, 1.0, "a factor on task A's inputs"

    def apply(self, task: Task, generator: Generator) -> Task:
        return _mapped(task, self.severity * torch.eye(self.num_features), torch.zeros(self.num_features))


class Anisotropy(Shift):
    """Stretch along random orthogonal axes, the longest `severity` times the shortest, the volume unchanged.

    x -> x Q diag(s) Q',   s log-spaced from severity^-1/2 to severity^1/2
    """

    lowest, highest, identity, unit = 1.0, 4096.0, 1.0, "longest axis over shortest"

    def apply(self, task: Task, generator: Generator) -> Task:
        axes, _ = torch.linalg.qr(torch.randn(self.num_features, self.num_features, generator=generator))
        stretch = _stretch(self.severity, self.num_features)
        return _mapped(task, axes * stretch @ axes.T, torch.zeros(self.num_features))


class AxisAnisotropy(Shift):
    """Stretch along the features themselves, in random order: what standardising each feature takes back."""

    lowest, highest, identity, unit = 1.0, 4096.0, 1.0, "widest feature over narrowest"

    def apply(self, task: Task, generator: Generator) -> Task:
        order = torch.randperm(self.num_features, generator=generator)
        stretch = _stretch(self.severity, self.num_features)[order]
        return _mapped(task, torch.diag(stretch), torch.zeros(self.num_features))


def _stretch(severity: float, num_features: int) -> Tensor:
    half = torch.as_tensor(severity, dtype=torch.float64).log() / 2
    return torch.linspace(-half, half, num_features).exp()


class Rotate(Shift):
    """Turn every point in one random plane: a null cell, since task A has no preferred direction."""

    lowest, highest, identity, unit = 0.0, 180.0, 0.0, "degrees"

    def apply(self, task: Task, generator: Generator) -> Task:
        plane, _ = torch.linalg.qr(torch.randn(self.num_features, 2, generator=generator))
        u, v = plane.T
        angle = math.radians(self.severity)
        turn = (math.cos(angle) - 1) * (torch.outer(u, u) + torch.outer(v, v))
        turn = turn + math.sin(angle) * (torch.outer(u, v) - torch.outer(v, u))
        return _mapped(task, torch.eye(self.num_features) + turn, torch.zeros(self.num_features))


class Embedding(Shift):
    """Put the points into a random plane of a space of `severity` dimensions, distances unchanged.

    The inputs' total variance stays, so that little changes for SGD; standardising each of the many, strongly
    correlated features then multiplies it.
    """

    lowest, highest, identity, unit, whole = 2.0, 1024.0, 2.0, "features in all, of task A's 2", True

    @property
    def num_features(self) -> int:  # type: ignore[override]
        return int(self.severity)

    def apply(self, task: Task, generator: Generator) -> Task:
        inner = self.family.num_features
        if inner > self.num_features:
            raise ValueError(
                f"severity={self.severity:g} of the embedding is less than the {inner} features there are; use {inner} "
                "or more."
            )
        plane, _ = torch.linalg.qr(torch.randn(self.num_features, inner, generator=generator))
        return _mapped(task, plane.T, torch.zeros(self.num_features))


class Nuisance(Shift):
    """Append `severity` features of standard normal noise, which say nothing of the class."""

    lowest, highest, identity, unit, whole = 0.0, 1024.0, 0.0, "features added", True

    @property
    def num_features(self) -> int:  # type: ignore[override]
        return self.family.num_features + int(self.severity)

    def apply(self, task: Task, generator: Generator) -> Task:
        def widened(x: Tensor) -> Tensor:
            return torch.cat([x, torch.randn(len(x), int(self.severity), generator=generator)], 1)

        return task._replace(x=widened(task.x), x_test=widened(task.x_test))


@dataclass(frozen=True)
class Standardised(Wrapped):
    """Each feature standardised on the task's own training points: the cheapest answer to a geometric shift.

    x -> (x - mean) / std;   a feature that does not vary becomes 0
    """

    family: TaskFamily

    def sample(self, generator: Generator) -> Task:
        task = self.family.sample(generator)
        mean, std = task.x.mean(0), task.x.std(0)
        std = torch.where(std > 0, std, torch.ones_like(std))
        return task._replace(x=(task.x - mean) / std, x_test=(task.x_test - mean) / std)
