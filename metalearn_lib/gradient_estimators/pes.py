"""Persistent evolution strategies: an update of theta after every truncation, without short-horizon bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from metalearn_lib.gradient_estimators.base import (
    Estimate,
    Estimator,
    Problem,
    check_divides,
    num_broken,
    relative,
    theta_of,
    unroll,
    with_theta,
)
from metalearn_lib.inner_loop import InnerState, Instances
from metalearn_lib.monitor import bounded_log
from metalearn_lib.trees import put, twice


class PersistentState(NamedTuple):
    """Runs that are under way: the arms at `theta + sigma e` first, then those at `theta - sigma e`."""

    inner: InnerState
    """`(2 tasks, ...)`"""
    first: Tensor
    """log loss at each run's first step `(2 tasks,)`; `nan` before it"""
    accumulated: Tensor
    """sum of the run's perturbations so far, in units of sigma `(tasks, theta)`"""
    instances: Instances
    position: Tensor
    """inner steps taken `(tasks,)`, int64"""
    next_task: Tensor
    """number of the next task to draw"""


@dataclass(frozen=True)
class PersistentES(Estimator):
    """Evolution strategies over truncations of runs that go on under the next theta.

        xi_i += e_i,   e_i ~ N(0, I)
        g = mean_i  (L_i(theta + sigma e_i) - L_i(theta - sigma e_i)) / (2 sigma) xi_i

    `L_i` is the mean relative log loss over this truncation, and `xi_i` sums the perturbations of the run's
    earlier truncations too, whose effect on the present loss a truncated estimate leaves out. A run that
    reaches its horizon is replaced by a fresh task, and it alone; ends are staggered evenly over the tasks,
    so that each call sees every part of the horizon, and the mean of the estimates over one horizon of calls
    is unbiased for the gradient of the smoothed meta-loss. Runs that the staggering starts late are shorter,
    once. With one truncation to a horizon it is `AntitheticES`.

    Args:
        truncation_length: inner steps of a call; it divides the horizon. `None` is the whole horizon.
        sigma: standard deviation of a truncation's perturbation, in units of theta.
        accumulate: whether `xi` remembers. Without, this is truncated ES, whose bias the tests and the book
            show.

    Raises:
        ValueError: when the truncation does not divide the horizon.

    References: Vicol, Metz and Sohl-Dickstein (2021) [vicol2021unbiased].
    """

    truncation_length: int | None = None
    sigma: float = 0.1
    accumulate: bool = True

    name, label, colour = "pes", "PES", "#009E73"
    cost = 2
    persistent, truncates, looks_ahead = True, True, True

    def init(self, problem: Problem, theta: Tensor) -> PersistentState:
        num_tasks = problem.num_tasks
        instances, inner = problem.draw(0, num_tasks)
        horizon = instances.num_steps
        length = self.truncation_length or horizon
        check_divides(length, horizon)
        position = torch.arange(num_tasks) % (horizon // length) * length
        if problem.start is not None:
            position = torch.full_like(position, problem.start)
        return PersistentState(
            with_theta(twice(inner), theta.expand(2 * num_tasks, -1)),
            theta.new_full((2 * num_tasks,), torch.nan),
            theta.new_zeros(num_tasks, len(theta)),
            instances,
            position,
            torch.tensor(num_tasks),
        )

    def __call__(
        self, state: PersistentState, theta: Tensor, problem: Problem, generator: Generator
    ) -> tuple[Estimate, PersistentState]:
        num_tasks, horizon = problem.num_tasks, state.instances.num_steps
        length = self.truncation_length or horizon
        noise = problem.noise(theta, generator)
        accumulated = state.accumulated + noise if self.accumulate else noise

        steps = state.position[:, None] + torch.arange(length)
        order = state.instances.order[torch.arange(num_tasks)[:, None], steps]
        start = with_theta(state.inner, theta + self.sigma * torch.cat([noise, -noise]))
        inner, info = unroll(
            problem.loop, state.instances._replace(order=order), start, problem.held_out_every
        )

        log_loss = bounded_log(info.loss)
        first = torch.where(state.first.isnan(), log_loss[:, 0], state.first)
        plus, minus = relative(log_loss, first[:, None]).mean(1).chunk(2)
        slope = (plus - minus) / (2 * self.sigma)
        estimate = Estimate(
            slope @ accumulated / num_tasks,
            (plus + minus).mean() / 2,
            slope.abs() * accumulated.norm(dim=1),
            num_broken(info),
            2 * num_tasks,
            self.cost * num_tasks * length,
        )
        state = state._replace(
            inner=inner, first=first, accumulated=accumulated, position=state.position + length
        )
        return estimate, self._resample(state, problem)

    def _resample(self, state: PersistentState, problem: Problem) -> PersistentState:
        """A fresh task in the place of each that has reached its horizon."""
        ended = (state.position >= state.instances.num_steps).nonzero().squeeze(1)
        if not len(ended) or problem.start is not None:
            return state
        fresh, inner = problem.draw(int(state.next_task), len(ended))
        arms = torch.cat([ended, ended + problem.num_tasks])
        inner = with_theta(twice(inner), theta_of(state.inner)[arms])
        return PersistentState(
            put(state.inner, arms, inner),
            state.first.index_fill(0, arms, torch.nan),
            state.accumulated.index_fill(0, ended, 0),
            state.instances.replace(ended, fresh),
            state.position.index_fill(0, ended, 0),
            state.next_task + len(ended),
        )
