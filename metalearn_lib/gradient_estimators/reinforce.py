"""REINFORCE: the meta-optimizer as a policy that explores, rewarded step by step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from metalearn_lib.gradient_estimators.base import (
    Estimate,
    Estimator,
    Problem,
    discounts,
    num_broken,
    rewards,
    with_theta,
)
from metalearn_lib.inner_loop import InnerState, Instances
from metalearn_lib.monitor import Observation
from metalearn_lib.rates.base import Rate
from metalearn_lib.rates.learned import LearnedRate, LearnedRateState
from metalearn_lib.trees import stack
from metalearn_lib.types import Info


class ExploringState(NamedTuple):
    """The learned rate's state, the noise `(tasks, time)` to come, and the last action's log-probability."""

    learned: LearnedRateState
    noise: Tensor
    log_probability: Tensor
    """`(tasks,)`, up to a constant; differentiable in theta, with what the policy saw held fixed"""


@dataclass(frozen=True)
class Exploring(Rate):
    """A learned rate whose change of the log scale is drawn from a Gaussian about the meta-optimizer's.

        action = change + sigma e,   e ~ N(0, 1)
        log_probability = -(action - change)^2 / (2 sigma^2)

    As `sigma` goes to 0 it is the learned rate.
    """

    learned: LearnedRate
    sigma: float

    def init(self, params: Tensor) -> ExploringState:
        zeros = params.new_zeros(len(params))
        return ExploringState(self.learned.init(params), zeros[:, None], zeros)

    def __call__(self, state: ExploringState, observation: Observation) -> tuple[Tensor, ExploringState]:
        change, seen = self.learned.propose(state.learned, observation)
        action = (change + self.sigma * state.noise[:, 0]).detach()
        log_probability = -((action - change) ** 2) / (2 * self.sigma**2)
        lr, learned = self.learned.apply(seen, action)
        return lr, ExploringState(learned, state.noise[:, 1:], log_probability)


@dataclass(frozen=True)
class Reinforce(Estimator):
    """The score-function gradient of a Gaussian policy on the log-scale change, with a baseline.

        G_it = sum_{s > t} (1 - s / T) r_is
        b_it = mean of G_jt over the other tasks j
        g = -mean_i sum_t (G_it - b_it) d/dtheta log pi(a_it | what was seen up to t)

    The base learner is a black box: nothing is differentiated but the policy, and through its memory. The
    estimate is unbiased for the gradient of the meta-loss *of the exploring policy*; its variance grows with
    the horizon and with `1 / sigma^2`. The baseline changes the variance and not the mean.

    Args:
        sigma: standard deviation of the exploration, nats of the log scale in one step.

    References: Williams (1992) [williams1992simple].
    """

    sigma: float = 0.1

    label, colour, differentiates, explores = "REINFORCE", "#E69F00", True, True

    def __call__(
        self, state: Tensor, theta: Tensor, problem: Problem, generator: Generator
    ) -> tuple[Estimate, Tensor]:
        num_tasks = problem.num_tasks
        instances, inner = problem.draw(int(state), num_tasks)
        noise = torch.randn(num_tasks, instances.num_steps, generator=generator, dtype=theta.dtype)
        own = theta.detach().expand(num_tasks, -1).clone().requires_grad_()
        with torch.enable_grad():
            info, log_probability = self.explore(problem, own, instances, inner, noise)
            weighted = rewards(info) * discounts(instances.num_steps, theta)
            to_go = weighted.flip(1).cumsum(1).flip(1)
            others = (to_go.sum(0) - to_go) / max(num_tasks - 1, 1)
            # the last step's action changes no loss that is seen
            surrogate = -((to_go - others) * log_probability[:, :-1]).sum()
            (gradients,) = torch.autograd.grad(surrogate, own)
        estimate = Estimate(
            gradients.mean(0),
            -weighted.sum(1).mean(),
            gradients.norm(dim=1),
            num_broken(info),
            num_tasks,
            num_tasks * instances.num_steps,
        )
        return estimate, state + num_tasks

    def explore(
        self, problem: Problem, theta: Tensor, instances: Instances, inner: InnerState, noise: Tensor
    ) -> tuple[Info, Tensor]:
        """Unroll under `theta` `(tasks, theta)` and given exploration; the info, and log-probabilities."""
        learned = problem.loop.rate
        assert isinstance(learned, LearnedRate)
        loop = replace(problem.loop, rate=Exploring(learned, self.sigma))
        rate = ExploringState(with_theta(inner, theta).rate, noise, noise[:, 0])
        infos, log_probabilities = [], []
        for state, info in loop.iterate(instances, inner._replace(rate=rate)):
            infos.append(info)
            log_probabilities.append(state.rate.log_probability)
        return stack(infos, 1), torch.stack(log_probabilities, 1)
