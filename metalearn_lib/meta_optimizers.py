"""The meta-optimizer: a small network that watches training and scales the learning rate."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Generator, Tensor

from metalearn_lib.files import atomic_path
from metalearn_lib.monitor import Observation
from metalearn_lib.rates import Rate, per_task

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
_MEMORY_DECAYS = (0.5, 0.8, 0.95, 0.99)
_LOG_SCALE_LIMIT = 20.0


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
        return len(self.inputs) + len(_MEMORY_DECAYS)

    @property
    def num_outputs(self) -> int:
        return 1 + len(_MEMORY_DECAYS)

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
        decay = memory.new_tensor(_MEMORY_DECAYS)
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


class LearnedRateState(NamedTuple):
    """Meta-parameters `(tasks, theta)`, base rate and log of the scaling factor `(tasks,)`, memory `(tasks, 4)`, and
    the last gradient `(tasks, weights)` where its alignment is an input, or else nothing.
    """

    theta: Tensor
    base_lr: Tensor
    log_scale: Tensor
    memory: Tensor
    last_grad: Tensor | tuple[()]


@dataclass(frozen=True)
class LearnedRate(Rate):
    """A base rate times a scaling factor that the meta-optimizer moves before every update.

        lr = base_lr exp(log_scale)

    With an untrained `theta` the factor is 1 and the rate is `Constant(base_lr)`, bit for bit.

    Args:
        base_lr: the rate to scale; a number, or `(tasks,)`.
        theta: meta-parameters `(theta,)`, or `(tasks, theta)`.
        meta_optimizer: the network they belong to.
    """

    base_lr: float | Tensor
    theta: Tensor
    meta_optimizer: MetaOptimizer = MetaOptimizer()

    def init(self, params: Tensor) -> LearnedRateState:
        num_tasks = len(params)
        theta = self.theta.to(params).expand(num_tasks, -1)
        memory = params.new_zeros(num_tasks, len(_MEMORY_DECAYS))
        last_grad = torch.zeros_like(params) if "alignment" in self.meta_optimizer.inputs else ()
        return LearnedRateState(
            theta, per_task(self.base_lr, params), params.new_zeros(num_tasks), memory, last_grad
        )

    def __call__(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        change, state = self.propose(state, observation)
        return self.apply(state, change)

    def propose(self, state: LearnedRateState, observation: Observation) -> tuple[Tensor, LearnedRateState]:
        """The change of the log scale `(tasks,)` that the meta-optimizer wants, and the state once it has seen this."""
        values = {"log_lr": state.base_lr.log() + state.log_scale, **observation._asdict()}
        last_grad = state.last_grad
        if isinstance(last_grad, Tensor):
            values["alignment"] = torch.cosine_similarity(observation.grad, last_grad).nan_to_num(nan=0.0)
            last_grad = observation.grad
        inputs = torch.stack([values[name] for name in self.meta_optimizer.inputs], 1)
        centre, spread = self.meta_optimizer.scaling.to(inputs).unbind()
        change, memory = self.meta_optimizer(state.theta, (inputs - centre) / spread, state.memory)
        return change, state._replace(memory=memory, last_grad=last_grad)

    def apply(self, state: LearnedRateState, change: Tensor) -> tuple[Tensor, LearnedRateState]:
        """The rate after `change`, and the state for the next step."""
        log_scale = (state.log_scale + change).clamp(-_LOG_SCALE_LIMIT, _LOG_SCALE_LIMIT)
        return state.base_lr * log_scale.exp(), state._replace(log_scale=log_scale)


class LearnedScheduleState(NamedTuple):
    """Meta-parameters `(tasks, 3)`, base rate and steps taken `(tasks,)`."""

    theta: Tensor
    base_lr: Tensor
    num_steps: Tensor


@dataclass(frozen=True)
class LearnedSchedule(Rate):
    """The open-loop rival of the learned rate: warm-up and decay in three meta-parameters, blind to training.

        lr_t = base_lr exp(a) min(1, (t + 1) / exp(b)) (1 + t / 32)^-c,   theta = (a, b, c)

    With `theta` 0 it is `Constant(base_lr)`.

    Args:
        base_lr: the rate to scale; a number, or `(tasks,)`.
        theta: `(3,)`, or `(tasks, 3)`.
    """

    base_lr: float | Tensor
    theta: Tensor

    def init(self, params: Tensor) -> LearnedScheduleState:
        theta = self.theta.to(params).expand(len(params), -1)
        return LearnedScheduleState(theta, per_task(self.base_lr, params), params.new_zeros(len(params)))

    def __call__(
        self, state: LearnedScheduleState, observation: Observation
    ) -> tuple[Tensor, LearnedScheduleState]:
        peak, warm_up, decay = state.theta.unbind(1)
        risen = ((state.num_steps + 1) * torch.exp(-warm_up)).clamp_max(1)
        fallen = (1 + state.num_steps / 32) ** -decay
        lr = state.base_lr * torch.exp(peak) * risen * fallen
        return lr, state._replace(num_steps=state.num_steps + 1)


def rate_of(card: dict[str, Any], theta: Tensor, base_lr: float | Tensor) -> LearnedRate | LearnedSchedule:
    """The rate that a card's meta-training trained, with meta-parameters `theta` and a base rate."""
    config = card["config"]
    if config.get("controller", "network") == "schedule":
        return LearnedSchedule(base_lr, theta)
    inputs = tuple(config.get("inputs") or INPUTS)
    return LearnedRate(base_lr, theta, MetaOptimizer(config["hidden"], inputs=inputs))


_WEIGHTS = Path(__file__).parent / "weights"


def shipped() -> list[str]:
    """Names of the trained files inside the package."""
    return sorted(path.stem for path in _WEIGHTS.glob("*.safetensors"))


def save_theta(
    path: str | os.PathLike[str], theta: Tensor, card: dict[str, Any], thetas: Tensor | None = None
) -> None:
    """Write meta-parameters and their card, whole or not at all.

    Args:
        theta: what is deployed, `(theta,)`.
        thetas: of all meta-seeds, `(meta-seeds, theta)`.
    """
    tensors = {"theta": theta.contiguous()} | ({} if thetas is None else {"thetas": thetas.contiguous()})
    with atomic_path(path) as partial:
        partial.write_bytes(save(tensors, {"card": json.dumps(card, sort_keys=True)}))


def load_theta(name: str | os.PathLike[str]) -> tuple[Tensor, dict[str, Any]]:
    """Meta-parameters `(theta,)` and the card that says how they were trained.

    Args:
        name: a file, or the name of one that ships with the library (see `shipped`).

    Raises:
        ValueError: when there is no such file, or it is none of ours. Nothing is ever unpickled.
    """
    with _open(name) as file:
        return file.get_tensor("theta"), json.loads((file.metadata() or {})["card"])


def load_thetas(name: str | os.PathLike[str]) -> tuple[Tensor, dict[str, Any]]:
    """The meta-parameters of all the file's meta-seeds, `(meta-seeds, theta)`, and the card; see `load_theta`."""
    with _open(name) as file:
        kept = "thetas" in file.keys()  # noqa: SIM118
        thetas = file.get_tensor("thetas") if kept else file.get_tensor("theta")[None]
        return thetas, json.loads((file.metadata() or {})["card"])


@contextmanager
def _open(name: str | os.PathLike[str]) -> Iterator[Any]:
    path = _WEIGHTS / f"{name}.safetensors" if str(name) in shipped() else Path(name)
    if not path.is_file():
        raise ValueError(
            f"{str(name)!r} is neither a file nor a shipped meta-optimizer; there are {', '.join(shipped())}."
        )
    try:
        with safe_open(path, "pt") as file:
            yield file
    except (SafetensorError, KeyError, json.JSONDecodeError) as fault:
        raise ValueError(
            f"{path} is no trained meta-optimizer, or is damaged ({fault}); "
            "train it again with `python -m metalearn_lib train`."
        ) from fault
