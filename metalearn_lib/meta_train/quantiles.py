"""Where a rule's inputs lay in its meta-training, so that whoever uses it can tell when they lie elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from metalearn_lib.cores import one_thread
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.meta_train.config import MetaTrainConfig
from metalearn_lib.meta_train.problems import Problems
from metalearn_lib.monitor import Observation
from metalearn_lib.rates.learned import LearnedRate, LearnedRateState

LEVELS = (0.001, 0.999)


def input_quantiles(
    config: MetaTrainConfig, theta: Tensor, num_set_ups: int = 16, num_tasks: int = 8
) -> dict[str, list[float]]:
    """By input, its quantiles at `LEVELS` over the steps of runs of the trained rule, in the input's own unit.

    Set-ups, tasks and base rates are those of meta-training's first outer steps. Each set-up counts alike, however long
    its runs are.

    Raises:
        ValueError: for a config whose rate sees nothing.
    """
    if config.controller != "network":
        raise ValueError(f"controller={config.controller!r} sees nothing; only a network has inputs.")
    problems, seen = Problems(config), []
    with one_thread(), torch.no_grad():
        for number in range(num_set_ups):
            set_up = problems.set_up(number, 0, config.generator(number, 0))
            instances, state = problems.problem(0, set_up).draw(number * num_tasks, num_tasks)
            learner, base_lr = set_up.learner(config.rescale_decades), state.rate.base_lr
            direction = config.loop(set_up.direction, learner, base_lr, theta).direction
            watched = _Told(base_lr, theta, config.meta_optimizer)
            loop = InnerLoop(learner, watched, direction)
            loop.unroll(instances, loop.init(state.params))
            every = torch.cat(watched.written)
            # the same number of each, evenly
            seen.append(every[torch.linspace(0, len(every) - 1, 1024).long()])
    inputs = config.meta_optimizer.inputs
    levels = torch.tensor(LEVELS)
    ends = torch.cat(seen).nan_to_num().quantile(levels, 0).T.tolist()
    return {
        each.name: [round(end * each.spread + each.centre, 4) for end in pair]
        for each, pair in zip(inputs, ends, strict=True)
    }


@dataclass(frozen=True)
class _Told(LearnedRate):
    """Writes down what the meta-optimizer is told."""

    written: list[Tensor] = field(default_factory=list)

    def told(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        told, state = super().told(state, observation)
        self.written.append(told)
        return told, state
