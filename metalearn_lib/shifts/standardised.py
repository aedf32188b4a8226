"""Standardise on the task itself: no shift, but the cheapest answer to one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from metalearn_lib.shifts.base import Wrapped
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.types import Task


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
