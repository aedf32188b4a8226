"""Fewer points to learn from."""

from __future__ import annotations

from torch import Generator

from metalearn_lib.shifts.base import Shift
from metalearn_lib.types import Task


class FewPoints(Shift):
    """Keep one *training* point in `severity`, and show each as many times more often, so that networks overfit.

    Held-out points stay as they are.
    """

    lowest, highest, identity, unit, symbol = 1.0, 64.0, 1.0, "how many times fewer training points", "×"
    stops = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)

    @classmethod
    def severity_at(cls, u: float) -> float:
        return 32.0**u

    def apply(self, task: Task, generator: Generator) -> Task:
        num_points = len(task.y)
        times = -(-num_points // max(1, round(num_points / self.severity)))
        kept = slice(-(-num_points // times))
        return task._replace(
            x=task.x[kept].repeat(times, 1)[:num_points], y=task.y[kept].repeat(times)[:num_points]
        )
