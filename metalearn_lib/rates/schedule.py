"""A rate that is read from a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate


class ScheduleState(NamedTuple):
    """Rates `(tasks, time)` and the steps taken `(tasks,)`."""

    lrs: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class Schedule(Rate):
    """Rates read from a table, whatever training does; after its end, the last of them.

    Args:
        lrs: `(time,)` for all tasks, or `(tasks, time)` for one of each task's own.
    """

    lrs: Tensor

    rival = False

    def init(self, params: Tensor) -> ScheduleState:
        return ScheduleState(self.lrs.to(params).expand(len(params), -1), params.new_zeros(len(params)))

    def __call__(self, state: ScheduleState, observation: Observation) -> tuple[Tensor, ScheduleState]:
        place = state.num_steps.clamp_max(state.lrs.shape[1] - 1).long()
        lr = state.lrs.gather(1, place.unsqueeze(1)).squeeze(1)
        return lr, state._replace(num_steps=state.num_steps + 1)
