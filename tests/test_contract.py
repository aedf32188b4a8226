"""What holds of every registered rule, so that adding one tests it: shapes, types, finite numbers, tasks apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from metalearn_lib.directions import DIRECTIONS
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.learned import LearnedDirection
from metalearn_lib.evaluate.contestants import rival, rivals
from metalearn_lib.inner_loop import InnerLoop, Instances
from metalearn_lib.inputs import INPUTS
from metalearn_lib.learners import MLP
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.monitor import Monitor
from metalearn_lib.rates import RATES
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.rates.learned_schedule import LearnedSchedule
from metalearn_lib.rates.schedule import Schedule
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.tasks import TASKS
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.trees import leaves, take
from metalearn_lib.types import Seeds


def theta_for(network: MetaOptimizer) -> Tensor:
    """Meta-parameters that say something."""
    return 0.05 * torch.randn(network.num_theta, generator=torch.Generator().manual_seed(0))


TRAINED = {
    "constant": Constant(0.1),
    "schedule": Schedule(torch.linspace(0.1, 0.01, 6)),
    "learned_rate": LearnedRate(0.1, theta_for(MetaOptimizer())),
    "learned_schedule": LearnedSchedule(0.1, torch.tensor([0.3, 1.4, 0.7])),
}
"""The rates that no name alone makes."""


def made(name: str) -> tuple[Any, Any]:
    """The direction and the rate of a rule, by its name."""
    if name in rivals():
        how = rival(rivals()[name])
        method = how.make(1e-3, how.numbers[0])
        return method.direction, method.rate
    if name in TRAINED:
        return Gradient(), TRAINED[name]
    kind = DIRECTIONS[name]
    assert issubclass(kind, LearnedDirection), f"{name!r} is made by no name alone: say here how to make it"
    return kind(theta_for(kind.network())), Constant(0.1)


@pytest.mark.parametrize("name", [*RATES, *DIRECTIONS])
def test_a_rule_gives_numbers_of_each_task_and_keeps_its_tasks_apart(
    name: str, learner: MLP, instances: Instances
) -> None:
    direction, rate = made(name)
    loop = InnerLoop(learner, rate, direction.of(learner))
    tasks = len(instances.params)

    start = loop.init(instances.params)
    assert all(len(leaf) == tasks for leaf in leaves(start))
    before = instances.params.clone()
    whole, info = loop.unroll(instances, start)
    assert info.lr.shape == (tasks, instances.num_steps)
    assert {info.lr.dtype, whole.params.dtype} == {torch.float64}
    assert info.lr.isfinite().all()
    assert whole.params.isfinite().all()
    assert torch.equal(instances.params, before), "a rule writes to no weights that it is given"
    assert not torch.equal(whole.params, before)
    assert loop.direction.judged(whole.direction, whole.params).shape == before.shape

    half, _ = loop.unroll(instances, stop=10)
    left = torch.tensor([4, 1])
    some, _ = loop.unroll(instances.take(left), take(half, left), 10)
    torch.testing.assert_close(some.params, whole.params[left], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", INPUTS)
def test_an_input_is_a_finite_number_of_each_task_whatever_happens_and_near_unit_size(name: str) -> None:
    told, tasks, weights = INPUTS[name](), 5, 7
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(tasks, weights, generator=generator, dtype=torch.float64)
    state, monitor = told.init(params), Monitor()
    seen = monitor.init(params)
    for _ in range(4):
        grad = torch.randn(tasks, weights, generator=generator, dtype=torch.float64)
        loss = torch.tensor([0.5, float("nan"), float("inf"), 0.0, 1e300], dtype=torch.float64)
        grad[1:4] = torch.tensor([0.0, float("inf"), float("nan")])[:, None]
        observation, seen = monitor(seen, loss, grad, params)
        value, state = told(state, observation, torch.full((tasks,), -2.0, dtype=torch.float64))
        assert value.shape == (tasks,)
        assert value.dtype == torch.float64
        assert value.isfinite().all()
    assert told.spread > 0


FAMILIES = {name: kind() for name, kind in TASKS.items()}
BLOBS = GaussianMixture(num_points=32, num_test=8)
SHIFTED = {
    f"{name} {severity:g}": kind(FAMILIES["digits"] if name == "natural_split" else BLOBS, severity)
    for name, kind in SHIFTS.items()
    for severity in {kind.severity_at(0.0), kind.severity_at(0.5), kind.identity, *kind.stops}
}


@pytest.mark.parametrize("family", [*FAMILIES.values(), *SHIFTED.values()], ids=[*FAMILIES, *SHIFTED])
def test_a_family_draws_tasks_of_its_shape_each_from_its_own_seed(family: TaskFamily) -> None:
    tasks = family.stack(Seeds("demo", 2))
    assert tasks.x.shape == (2, family.num_points, family.num_features)
    assert tasks.y.shape == (2, family.num_points)
    assert tasks.x_test.shape == (*tasks.y_test.shape, family.num_features)
    for x, y in ((tasks.x, tasks.y), (tasks.x_test, tasks.y_test)):
        assert x.dtype == torch.float32
        assert x.isfinite().all()
        assert y.dtype == torch.int64
        assert y.min() >= 0
        assert y.max() < family.num_classes
    alone = family.stack(Seeds("demo", 1, start=1))
    assert all(torch.equal(one[0], other[1]) for one, other in zip(alone, tasks, strict=True))
    assert not torch.equal(tasks.x[0], tasks.x[1])
