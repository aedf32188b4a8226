"""Evolution strategies over whole unrolls."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from metalearn_lib.gradient_estimators.base import (
    Estimate,
    Estimator,
    Problem,
    meta_loss,
    num_broken,
    unroll,
    with_theta,
)
from metalearn_lib.trees import twice


@dataclass(frozen=True)
class AntitheticES(Estimator):
    """Evolution strategies over whole unrolls, in antithetic pairs that share an instance.

        g = mean_i  (L(theta + sigma e_i) - L(theta - sigma e_i)) / (2 sigma) e_i,   e_i ~ N(0, I)

    Each task of the stack has a perturbation of its own. The estimate is unbiased for the gradient of the
    meta-loss smoothed by a Gaussian of width `sigma`; for a quadratic meta-loss that is the gradient itself.

    Args:
        sigma: standard deviation of the perturbations, in units of theta.

    References: Salimans et al. (2017) [salimans2017evolution].
    """

    sigma: float = 0.1

    name, label, colour = "es", "ES", "#0072B2"
    cost = 2
    looks_ahead = True

    def __call__(
        self, state: Tensor, theta: Tensor, problem: Problem, generator: Generator
    ) -> tuple[Estimate, Tensor]:
        num_tasks = problem.num_tasks
        instances, start = problem.draw(int(state), num_tasks)
        noise = problem.noise(theta, generator)
        start = with_theta(twice(start), self.arms(theta, noise))
        _, info = unroll(problem.loop, instances, start, problem.held_out_every)
        slope, middle = self.slopes(meta_loss(info))
        estimate = Estimate(
            slope @ noise / num_tasks,
            middle.mean(),
            slope.abs() * noise.norm(dim=1),
            num_broken(info),
            2 * num_tasks,
            self.cost * num_tasks * instances.num_steps,
        )
        return estimate, state + num_tasks

    def arms(self, theta: Tensor, noise: Tensor) -> Tensor:
        """Meta-parameters of both arms of each task `(2 tasks, theta)`, from its perturbation `(tasks, theta)`."""
        return theta + self.sigma * torch.cat([noise, -noise])

    def slopes(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        """How the meta-loss rises along each task's perturbation, and its mean there, both `(tasks,)`, from that of
        every arm `(2 tasks,)`.
        """
        plus, minus = losses.chunk(2)
        return (plus - minus) / (2 * self.sigma), (plus + minus) / 2
