"""Gradients of the meta-loss with respect to theta: four estimators behind one interface.

    state = estimator.init(problem, theta)
    estimate, state = estimator(state, theta, problem, generator)

An estimator sees a `Problem`, which is the inner loop and the tasks it may draw, and nothing else. Its state
is a tree of tensors, so that a run can be saved between any two calls.
"""

from metalearn_lib.gradient_estimators.backprop import Backpropagation
from metalearn_lib.gradient_estimators.base import (
    Estimate,
    Estimator,
    Problem,
    meta_loss,
    rewards,
    theta_of,
    unroll,
    with_theta,
)
from metalearn_lib.gradient_estimators.es import AntitheticES
from metalearn_lib.gradient_estimators.pes import PersistentES
from metalearn_lib.gradient_estimators.reinforce import Reinforce
from metalearn_lib.registry import Registry

ESTIMATORS: Registry[type[Estimator]] = Registry(
    "metalearn_lib.gradient_estimators.base:Estimator", "es pes backprop reinforce"
)
"""The estimators by name."""

__all__ = [
    "ESTIMATORS",
    "AntitheticES",
    "Backpropagation",
    "Estimate",
    "Estimator",
    "PersistentES",
    "Problem",
    "Reinforce",
    "meta_loss",
    "rewards",
    "theta_of",
    "unroll",
    "with_theta",
]
