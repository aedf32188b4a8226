"""The meta-optimizer: a small network that watches training, and what it may be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from importlib import import_module

import torch
from torch import Generator, Tensor

from metalearn_lib.inputs.base import Input

MEMORY_DECAYS = (0.5, 0.8, 0.95, 0.99)


def _told() -> tuple[Input, ...]:
    # found by its name, so that a kept row depends on the inputs that its rule holds, and not on all that are listed
    return import_module("metalearn_lib.inputs").make_inputs()


@dataclass(frozen=True)
class MetaOptimizer:
    """A one-layer network with a linear path beside it and a memory of four leaky averages.

        hidden = tanh(W1 [inputs, memory] + b1)
        change, write = W2 hidden + A [inputs, memory] + b2
        log scale += bound tanh(change / bound)
        memory = decay memory + (1 - decay) tanh(write)

    Each input comes as `(value - centre) / spread`. The rate now in force is one, and the base rate itself is none: a
    law learned here says where the rate *should be*, and a mis-set base rate is only another place to start from. `W2`,
    `A` and `b2` start at zero: the untrained meta-optimizer changes nothing.

    Args:
        hidden: units of the hidden layer.
        bound: the largest change of the log scale in one step, in nats; 7 is a factor of 1,097, so that a rate mis-set
            by 10^2 can be put right before the first update is made.
        inputs: what it sees, as `make_inputs` makes them from names. With `LogLr` alone it is blind to training, and
            its memory can only count steps.

    Raises:
        ValueError: for no input, or what is none.
    """

    hidden: int = 16
    bound: float = 7.0
    inputs: tuple[Input, ...] = field(default_factory=_told)
    scaling: Tensor = field(init=False, repr=False, compare=False)
    """centre and spread of each input, `(2, inputs)`"""

    def __post_init__(self) -> None:
        if not self.inputs or not all(isinstance(each, Input) for each in self.inputs):
            raise ValueError(
                f"inputs={self.inputs} must be one or more inputs, as make_inputs(names) makes them."
            )
        with torch.inference_mode(False):  # it may be used where gradients are wanted
            pairs = [(each.centre, each.spread) for each in self.inputs]
            scaling = torch.tensor(pairs, dtype=torch.float64, device="cpu").T
        object.__setattr__(self, "scaling", scaling)

    @property
    def num_inputs(self) -> int:
        return len(self.inputs) + len(MEMORY_DECAYS)

    @property
    def num_outputs(self) -> int:
        return 1 + len(MEMORY_DECAYS)

    @property
    def num_theta(self) -> int:
        return sum(math.prod(shape) for shape in self._shapes())

    def init_theta(self, generator: Generator) -> Tensor:
        """Meta-parameters `(theta,)` with which the learned rate is the base rate, exactly."""
        theta = torch.zeros(self.num_theta)
        into_hidden = self.hidden * self.num_inputs
        theta[:into_hidden] = torch.randn(into_hidden, generator=generator) / math.sqrt(self.num_inputs)
        return theta

    def __call__(self, theta: Tensor, inputs: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Change of the log scale `(tasks,)` and new memory, from `theta` `(tasks, theta)`, inputs and memory."""
        inner, bias, outer, linear, offset = self._split(theta)
        seen = torch.cat([inputs, memory], 1).unsqueeze(2)
        hidden = torch.tanh(torch.bmm(inner, seen) + bias)
        out = (torch.bmm(outer, hidden) + torch.bmm(linear, seen) + offset).squeeze(2)
        change = self.bound * torch.tanh(out[:, 0] / self.bound)
        decay = memory.new_tensor(MEMORY_DECAYS)
        return change, decay * memory + (1 - decay) * torch.tanh(out[:, 1:])

    def shuffle_inputs(self, theta: Tensor, generator: Generator) -> Tensor:
        """`theta` with the inputs dealt out anew: the same network, each weight of which meets a wrong input."""
        inner, bias, outer, linear, offset = self._split(theta)
        order = torch.arange(self.num_inputs)
        order[: len(self.inputs)] = torch.randperm(len(self.inputs), generator=generator)
        return torch.cat(
            [piece.flatten() for piece in (inner[:, order], bias, outer, linear[:, order], offset)]
        )

    def _shapes(self) -> list[tuple[int, int]]:
        inputs, outputs = self.num_inputs, self.num_outputs
        return [
            (self.hidden, inputs),
            (self.hidden, 1),
            (outputs, self.hidden),
            (outputs, inputs),
            (outputs, 1),
        ]

    def _split(self, theta: Tensor) -> list[Tensor]:
        if theta.shape[-1] != self.num_theta:
            raise ValueError(
                f"theta has {theta.shape[-1]} weights and this meta-optimizer has {self.num_theta}; build it with the "
                "settings that theta was trained with (its card names them)."
            )
        shapes = self._shapes()
        pieces = theta.split([math.prod(shape) for shape in shapes], -1)
        return [piece.view(*piece.shape[:-1], *shape) for piece, shape in zip(pieces, shapes, strict=True)]
