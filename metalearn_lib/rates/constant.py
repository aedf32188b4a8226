"""A rate that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate, per_task


@dataclass(frozen=True)
class Constant(Rate):
    """The same rate at every step.

    Args:
        lr: the rate; a number, or `(tasks,)` for one of each task's own.
    """

    lr: float | Tensor

    rival = False

    def init(self, params: Tensor) -> Tensor:
        return per_task(self.lr, params)

    def __call__(self, state: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        return state, state
