"""What the estimators share: the meta-loss, the problem they are given, and the estimate they give back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from metalearn_lib.directions.learned import split_theta
from metalearn_lib.inner_loop import InnerLoop, InnerState, Instances
from metalearn_lib.learners import Batch
from metalearn_lib.monitor import bounded_log
from metalearn_lib.registry import Named
from metalearn_lib.trees import stack
from metalearn_lib.types import Info

HELD_OUT = 128
"""Held-out points of a look at the held-out loss, or as many as there are."""
_WORST = 3.0
"""A loss counts as no more than e^3 times the first: a diverged task is bad news, but not all the news."""


class Problem(NamedTuple):
    """Tasks of one shape that an estimator trains on side by side."""

    loop: InnerLoop
    """its rate is a `LearnedRate`; theta and base rates come with the states that `draw` gives"""
    num_tasks: int
    draw: Callable[[int, int], tuple[Instances, InnerState]]
    """`draw(first, count)`: the tasks numbered `first` and on, untrained; the same at every call"""
    held_out_every: int | None = None
    """inner steps between two looks at the held-out loss, which the meta-loss is then made of; `None` makes it of the
    minibatches' own losses"""
    trained: Tensor | None = None
    """1 for each meta-parameter that is perturbed and 0 for one that stays, `(theta,)`; `None` perturbs all"""
    start: int | None = None
    """the inner step at which runs that go on from call to call all begin, and they end together; `None` staggers
    them, and each that ends is replaced by a fresh task"""

    def noise(self, theta: Tensor, generator: Generator) -> Tensor:
        """A perturbation of `theta` for each task, in units of sigma, `(tasks, theta)`."""
        noise = torch.randn(self.num_tasks, len(theta), generator=generator, dtype=theta.dtype)
        return noise if self.trained is None else noise * self.trained


class Estimate(NamedTuple):
    """A gradient of the meta-loss, and what it cost."""

    gradient: Tensor
    """`(theta,)`"""
    meta_loss: Tensor
    """mean over tasks, a scalar"""
    task_norms: Tensor
    """`(tasks,)`: length of each task's own estimate, whose mean is the gradient. Where the largest dwarfs
    the rest, gradients explode"""
    num_nonfinite: int
    """runs whose loss or gradient was no number at some step"""
    num_runs: int
    """runs in all, antithetic arms counted each"""
    num_gradients: int
    """minibatch gradient evaluations spent"""


def unroll(
    loop: InnerLoop,
    instances: Instances,
    state: InnerState | None = None,
    held_out_every: int | None = None,
) -> tuple[InnerState, Info]:
    """As `InnerLoop.unroll`; with `held_out_every`, the info of the steps that `looks` names, with the held-out loss
    before each as its loss. No rate or direction sees it.
    """
    if held_out_every is None:
        return loop.unroll(instances, state)
    state = loop.init(instances.params) if state is None else state
    arms = len(state.params) // len(instances.params)
    points = Batch(*(part[:, :HELD_OUT].repeat(arms, 1, 1) for part in instances.test))
    seen = []
    for start, stop in pairwise([*looks(instances.num_steps, held_out_every), instances.num_steps]):
        loss = loop.learner.loss(state.params, points)
        state, info = loop.unroll(instances, state, start, stop)
        seen.append(Info(loss, *(each[:, 0] for each in info[1:])))
    return state, stack(seen, 1)


def looks(num_steps: int, every: int) -> list[int]:
    """The steps before which the held-out loss is looked at: every so many-th; at 0 each half power of 2, so that looks
    lie evenly in log time and a task of a hundred steps counts for as much as one of ten.
    """
    if every:
        return list(range(0, num_steps, every))
    powers = (round(2 ** (half / 2)) for half in range(2 * num_steps.bit_length()))
    return [0, *sorted({power for power in powers if power < num_steps})]


class Estimator(Named, ABC):
    """Gradient estimates of the meta-loss at `theta`, from a stream of tasks."""

    colour: ClassVar[str] = ""
    """what figures draw it in; none is one that they choose"""
    cost: ClassVar[int] = 1
    """minibatch gradients that an inner step of a task is charged as"""
    persistent: ClassVar[bool] = False
    """whether runs go on from one call to the next, so that the problem must keep its shape"""
    truncates: ClassVar[bool] = False
    """whether it can cut the horizon into truncations"""
    differentiates: ClassVar[bool] = False
    """whether it differentiates what the inner loop computes, which a compiled loop does not bear"""
    looks_ahead: ClassVar[bool] = False
    """whether its reward can be the held-out loss"""
    explores: ClassVar[bool] = False
    """whether the rate must be a policy that explores, the meta-optimizer on a plain direction"""

    @classmethod
    def make(cls, settings: Any) -> Estimator:
        """The estimator with those of its own fields that `settings` has."""
        own = [field.name for field in fields(cls)] if is_dataclass(cls) else []
        return cls(**{name: getattr(settings, name) for name in own if hasattr(settings, name)})

    def init(self, problem: Problem, theta: Tensor) -> Any:
        """The state before the first call: by default the number of the next task to draw."""
        return torch.zeros((), dtype=torch.int64)

    @abstractmethod
    def __call__(
        self, state: Any, theta: Tensor, problem: Problem, generator: Generator
    ) -> tuple[Estimate, Any]:
        """Estimate at `theta` `(theta,)`, with every random number but the tasks' from `generator`."""


def rewards(info: Info) -> Tensor:
    """Improvement of the log loss from each step to the next, bounded below.

        r_t = log L_{t-1} - log L_t,   with log L_t at most log L_0 + 3

    Returns:
        `(tasks, time - 1)`.
    """
    log_loss = bounded_log(info.loss)
    return -relative(log_loss, log_loss[:, :1]).diff(dim=1)


def meta_loss(info: Info) -> Tensor:
    """Minus the return: rewards for loss improvement, discounted linearly so that early ones count for more.

        -sum_t (1 - t / T) r_t  =  mean_t (log L_t - log L_0),   t = 0 .. T - 1

    Without the discount the sum telescopes to `log L_0 - log L_{T-1}`, which rewards no speed. A run whose
    loss stops being a number is neither dropped nor averaged as it is: from there on it counts at the bound
    of `rewards`.

    Returns:
        `(tasks,)`: the mean log loss over the run, relative to its start.
    """
    improvement = rewards(info)
    return -(improvement * discounts(info.loss.shape[1], improvement)).sum(1)


def discounts(num_steps: int, like: Tensor) -> Tensor:
    """Weights `1 - t / T` of the rewards, `(time - 1,)`."""
    return 1 - torch.arange(1, num_steps, dtype=like.dtype) / num_steps


def relative(log_loss: Tensor, first: Tensor) -> Tensor:
    """`log L_t - log L_0`, at most 3, from `(tasks, time)` and `(tasks, 1)`."""
    return (log_loss - first).clamp_max(_WORST)


def with_theta(state: InnerState, theta: Tensor) -> InnerState:
    """The same state under other meta-parameters `(tasks, theta)`: the rate's, then the direction's if it has any."""
    if not _learns(state.direction):
        return state._replace(rate=state.rate._replace(theta=theta))
    of_rate, own = split_theta(theta, state.direction.theta.shape[-1])
    state = state._replace(direction=state.direction._replace(theta=own))
    return state._replace(rate=state.rate._replace(theta=of_rate)) if _learns(state.rate) else state


def theta_of(state: InnerState) -> Tensor:
    """The meta-parameters of a state `(tasks, theta)`, as `with_theta` sets them."""
    return torch.cat([part.theta for part in (state.rate, state.direction) if _learns(part)], -1)


def _learns(part: Any) -> bool:
    """Whether a rate's or a direction's state has meta-parameters."""
    return "theta" in getattr(part, "_fields", ())


def num_broken(info: Info) -> int:
    """Runs whose loss is no number at some step."""
    return int((~info.loss.isfinite()).any(1).sum())


def check_divides(length: int, horizon: int, name: str = "truncation_length") -> None:
    """Refuse a length that does not divide the horizon."""
    if length < 1 or horizon % length:
        divisors = [number for number in range(1, horizon + 1) if horizon % number == 0]
        near = sorted(sorted(divisors, key=lambda number: abs(number - length))[:2])
        use = " or ".join(map(str, near))
        raise ValueError(f"{name}={length} does not divide horizon={horizon}; use {use}.")
