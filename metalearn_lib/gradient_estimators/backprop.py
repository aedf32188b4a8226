"""Backpropagation through the unroll, whole or truncated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from metalearn_lib.gradient_estimators.base import (
    Estimate,
    Estimator,
    Problem,
    check_divides,
    relative,
    with_theta,
)
from metalearn_lib.monitor import bounded_log
from metalearn_lib.trees import tree_map


@dataclass(frozen=True)
class Backpropagation(Estimator):
    """The derivative of the meta-loss along the unroll, cut at the ends of truncations.

        g = mean_i  sum_k  d/dtheta  1/T sum_{t in truncation k} (log L_t - log L_0)

    Inside a truncation the derivative runs through weights, moments, monitor and memory; across its start it
    does not: what an action does after the truncation's end is not seen (short-horizon bias). With one
    truncation it is exact. A long product of Jacobians can explode: `Estimate.task_norms` shows it, and a
    task whose gradient is no number is left out of the mean and counted.

    Args:
        truncation_length: inner steps of a truncation; it divides the horizon. `None` is the whole horizon.

    Raises:
        ValueError: when the truncation does not divide the horizon, or is a single step.

    References: Werbos (1990) [werbos1990backpropagation]; Metz et al. (2019) [metz2019understanding].
    """

    truncation_length: int | None = None

    name, label, colour = "backprop", "backpropagation", "#CC79A7"
    truncates, differentiates = True, True
    cost = 3  # the backward pass of a step costs about two steps

    def __post_init__(self) -> None:
        if self.truncation_length == 1:
            raise ValueError("truncation_length=1 ends before any action shows in a loss; use 2 or more.")

    def __call__(
        self, state: Tensor, theta: Tensor, problem: Problem, generator: Generator
    ) -> tuple[Estimate, Tensor]:
        instances, inner = problem.draw(int(state), problem.num_tasks)
        horizon = instances.num_steps
        length = self.truncation_length or horizon
        check_divides(length, horizon)
        # every task differentiates a theta of its own, so that one task's explosion is seen and stays its own
        own = theta.detach().expand(problem.num_tasks, -1).clone().requires_grad_()
        gradients, losses = torch.zeros_like(own), own.new_zeros(len(own))
        finite = torch.ones(len(own), dtype=torch.bool)
        first = None
        for start in range(0, horizon, length):
            inner = tree_map(Tensor.detach, inner)
            with torch.enable_grad():
                inner = with_theta(inner, own)
                inner, info = problem.loop.unroll(instances, inner, start, start + length)
                log_loss = bounded_log(info.loss)
                first = log_loss[:, :1].detach() if first is None else first
                loss = relative(log_loss, first).sum(1) / horizon
                gradients += torch.autograd.grad(loss.sum(), own)[0]
            losses += loss.detach()
            finite &= info.loss.isfinite().all(1)
        finite &= gradients.isfinite().all(1)
        kept = torch.where(finite[:, None], gradients, 0)
        estimate = Estimate(
            kept.sum(0) / finite.sum().clamp_min(1),
            losses.mean(),
            kept.norm(dim=1),
            int((~finite).sum()),
            problem.num_tasks,
            self.cost * problem.num_tasks * horizon,
        )
        return estimate, state + problem.num_tasks
