"""Gradients of the meta-loss with respect to theta. An estimator sees the inner loop and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from metalearn_lib.inner_loop import CHUNK, InnerLoop, InnerState, Instances
from metalearn_lib.monitor import bounded_log
from metalearn_lib.trees import take
from metalearn_lib.types import Info

_WORST = 3.0
"""A loss counts as no more than e^3 times the first loss: a diverged task is bad news, but not all the news."""


class Estimate(NamedTuple):
    """A gradient of the meta-loss, and what it cost."""

    gradient: Tensor
    """`(theta,)`"""
    meta_loss: Tensor
    """mean over tasks, a scalar"""
    num_nonfinite: int
    """runs whose loss was not finite at some step; they count at the bound, not as missing"""
    num_gradients: int
    """minibatch gradient evaluations spent"""


def rewards(info: Info) -> Tensor:
    """Improvement of the log loss from each step to the next, `(tasks, time - 1)`, bounded below.

    r_t = log L_{t-1} - log L_t,   with log L_t at most log L_0 + 3
    """
    log_loss = bounded_log(info.loss)
    return -torch.minimum(log_loss, log_loss[:, :1] + _WORST).diff(dim=1)


def meta_loss(info: Info) -> Tensor:
    """Minus the return: rewards for loss improvement, discounted linearly so that an early one counts for more.

        -sum_t (1 - t / T) r_t  =  mean_t (log L_t - log L_0),   t = 0 .. T - 1

    Without the discount the sum telescopes to `log L_0 - log L_{T-1}`, which rewards no speed.

    Returns:
        `(tasks,)`: the mean log loss over the run, relative to its start.
    """
    improvement = rewards(info)
    num_steps = info.loss.shape[1]
    discount = 1 - torch.arange(1, num_steps, dtype=improvement.dtype) / num_steps
    return -(improvement * discount).sum(1)


@dataclass(frozen=True)
class AntitheticES:
    """Evolution strategies over whole unrolls, in antithetic pairs that share an instance.

        g = mean_i  (L(theta + sigma e_i) - L(theta - sigma e_i)) / (2 sigma) e_i,   e_i ~ N(0, I)

    Each task of the stack has a perturbation of its own. The estimate is unbiased for the gradient of the meta-loss
    smoothed by a Gaussian of width `sigma`; for a quadratic meta-loss that is the gradient itself.

    Args:
        sigma: standard deviation of the perturbations, in units of theta.

    References: Salimans et al. (2017) [salimans2017evolution].
    """

    sigma: float = 0.1

    def __call__(
        self, loop: InnerLoop, state: InnerState, theta: Tensor, instances: Instances, generator: Generator
    ) -> Estimate:
        """Estimate at `theta` `(theta,)`, from the untrained `state` of each of `instances`."""
        num_tasks = len(state.params)
        noise = torch.randn(num_tasks, len(theta), generator=generator, dtype=theta.dtype)
        gradient, total, num_nonfinite = torch.zeros_like(theta), theta.new_zeros(()), 0
        for pairs in torch.arange(num_tasks).split(CHUNK // 2):
            arms = torch.cat([pairs, pairs])
            perturbation = torch.cat([noise[pairs], -noise[pairs]])
            start = with_theta(take(state, arms), theta + self.sigma * perturbation)
            _, info = loop.unroll(instances.take(arms), start)
            plus, minus = meta_loss(info).chunk(2)
            gradient += ((plus - minus) / (2 * self.sigma)) @ noise[pairs]
            total += (plus + minus).sum() / 2
            num_nonfinite += int((~info.loss.isfinite()).any(1).sum())
        return Estimate(
            gradient / num_tasks, total / num_tasks, num_nonfinite, 2 * num_tasks * instances.num_steps
        )


def with_theta(state: InnerState, theta: Tensor) -> InnerState:
    """The same state under other meta-parameters `(tasks, theta)`."""
    return state._replace(rate=state.rate._replace(theta=theta))
