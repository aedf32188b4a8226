"""The meta-optimizer: a small network that watches training, and what it may be told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

# Centre and spread of each input as met while plain SGD trains on task A: they only bring the inputs near unit size.
_INPUTS = {
    "log_lr": (-1.5, 3.0),
    "log_loss": (-0.5, 1.0),
    "log_grad_norm": (-0.5, 1.5),
    "log_weight_norm": (2.1, 0.5),
    "loss_trend_fast": (0.0, 0.25),
    "loss_trend_slow": (0.0, 0.5),
    "grad_trend": (0.0, 0.5),
    "loss_noise": (0.0, 0.25),
    "alignment": (0.0, 0.5),
}


ALL_INPUTS = tuple(_INPUTS)
"""All that a meta-optimizer may see."""


INPUTS = ALL_INPUTS[:-1]
"""What one sees that is not told otherwise: losses and norms, which cost nothing to keep."""


MEMORY_DECAYS = (0.5, 0.8, 0.95, 0.99)


@dataclass(frozen=True)
class MetaOptimizer:
    """A one-layer network with a linear path beside it and a memory of four leaky averages.

        hidden = tanh(W1 [inputs, memory] + b1)
        change, write = W2 hidden + A [inputs, memory] + b2
        log scale += bound tanh(change / bound)
        memory = decay memory + (1 - decay) tanh(write)

    The inputs are the monitor's logarithms and the logarithm of the rate now in force, which is the base rate times the
    scaling factor. The base rate itself is no input: a law learned here says where the rate *should be*, and a mis-set
    base rate is only another place to start from. `W2`, `A` and `b2` start at zero: the untrained meta-optimizer
    changes nothing.

    Args:
        hidden: units of the hidden layer.
        bound: the largest change of the log scale in one step, in nats; 7 is a factor of 1,097, so that a rate mis-set
            by 10^2 can be put right before the first update is made.
        inputs: what it sees, names of `ALL_INPUTS`. With `("log_lr",)` it is blind to training, and its memory can only
            count steps. `"alignment"` is the cosine between this minibatch gradient and the last one: above 0 where
            steps could be longer, below 0 where they jump across a valley (what hypergradient descent follows).

    Raises:
        ValueError: for an input that there is not, or none.
    """

    hidden: int = 16
    bound: float = 7.0
    inputs: tuple[str, ...] = INPUTS
    scaling: Tensor = field(init=False, repr=False, compare=False)
    """centre and spread of each input, `(2, inputs)`"""

    def __post_init__(self) -> None:
        if not self.inputs or not set(self.inputs) <= set(ALL_INPUTS):
            raise ValueError(f"inputs={self.inputs} must be one or more of {', '.join(ALL_INPUTS)}.")
        with torch.inference_mode(False):  # it may be used where gradients are wanted
            scaling = torch.tensor([_INPUTS[name] for name in self.inputs], dtype=torch.float64).T
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
