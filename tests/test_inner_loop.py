"""The loop against torch.optim, against itself alone, and against the placebo."""

import math

import pytest
import torch

from metalearn_lib.cards import learned_on
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.inner_loop import CompiledLoop, InnerLoop, _compiled_step, draw_instances
from metalearn_lib.inputs import INPUTS, make_inputs
from metalearn_lib.inputs.alignment import Alignment
from metalearn_lib.learners import Batch
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.monitor import LOG_LIMIT, Monitor
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.trees import take
from metalearn_lib.types import Seeds

DIRECTIONS = learned_on()
TORCH_OPTIMIZERS = {
    "sgd": (Gradient(), lambda params: torch.optim.SGD(params, lr=0.1)),
    "momentum": (Momentum(0.9), lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9)),
    "adam": (Adam(), lambda params: torch.optim.Adam(params, lr=0.1)),
}


def theta_at_random(scale: float, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(MetaOptimizer().num_theta, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", TORCH_OPTIMIZERS)
def test_a_constant_rate_gives_the_weights_of_torch_optim(name, instances, learner):
    direction, make = TORCH_OPTIMIZERS[name]
    state, info = InnerLoop(learner, Constant(0.1), direction).unroll(instances)
    for task in range(len(instances.params)):
        params = instances.params[task].clone().requires_grad_()
        optimizer = make([params])
        for step in range(instances.num_steps):
            optimizer.zero_grad()
            loss = learner.loss(params[None], instances.batch(step, torch.tensor([task])))
            loss.sum().backward()
            assert info.loss[task, step] == pytest.approx(loss.item(), rel=1e-11)
            optimizer.step()
        torch.testing.assert_close(state.params[task], params.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_placebo_equals_the_constant_rate_bit_for_bit(direction, dtype, family, learner):
    instances = draw_instances(family, learner, Seeds("demo", 4), 20, 32, dtype)
    untrained = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))
    plain, placebo = (
        InnerLoop(learner, rate, direction).unroll(instances)
        for rate in (Constant(0.3), LearnedRate(0.3, untrained))
    )
    assert torch.equal(plain[0].params, placebo[0].params)
    assert all(torch.equal(one, other) for one, other in zip(plain[1], placebo[1], strict=True))


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_task_alone_equals_the_same_task_among_sixty_four(direction, family, learner):
    instances = draw_instances(family, learner, Seeds("demo", 64), 20, 32, torch.float64)
    loop = InnerLoop(learner, LearnedRate(0.1, theta_at_random(0.1)), direction)
    stacked, _ = loop.unroll(instances)
    for task in (0, 17, 63):
        alone, _ = loop.unroll(instances.take(torch.tensor([task])))
        torch.testing.assert_close(alone.params[0], stacked.params[task], rtol=1e-10, atol=1e-12)


def test_an_unroll_in_pieces_equals_the_unroll_in_one(instances, learner):
    loop = InnerLoop(learner, LearnedRate(0.1, theta_at_random(0.1)), Adam())
    whole, _ = loop.unroll(instances)
    state, _ = loop.unroll(instances, stop=7)
    pieces, _ = loop.unroll(instances, state, start=7)
    assert torch.equal(whole.params, pieces.params)


def test_a_longer_run_begins_with_the_shorter_one(family, learner):
    short, long = (draw_instances(family, learner, Seeds("demo", 3), steps, 32) for steps in (5, 50))
    assert torch.equal(long.order[:, :5], short.order)
    assert torch.equal(long.params, short.params)


def test_every_point_is_visited_once_in_each_epoch(family, learner):
    order = draw_instances(family, learner, Seeds("demo", 2), 9, 32).order
    for epoch in order[1].view(3, 96):
        assert sorted(epoch.tolist()) == list(range(96, 192))


@pytest.mark.parametrize("base_lr", [1e-6, 0.1, 1e6])
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_the_learned_rate_stays_finite_and_bounded_while_training_diverges(
    base_lr, direction, instances, learner
):
    rate = LearnedRate(base_lr, theta_at_random(1.0))
    _, info = InnerLoop(learner, rate, direction).unroll(instances)
    assert info.lr.isfinite().all()
    change = (info.lr[:, 1:].log() - info.lr[:, :-1].log()).abs()
    assert change.max() <= rate.meta_optimizer.bound + 1e-9


def test_the_learned_rate_is_differentiable_in_theta(instances, learner):
    theta = theta_at_random(0.05).requires_grad_()

    def last_loss(theta):
        return (
            InnerLoop(learner, LearnedRate(0.1, theta), Momentum())
            .unroll(instances, stop=4)[1]
            .loss[:, -1]
            .sum()
        )

    (gradient,) = torch.autograd.grad(last_loss(theta), theta)
    along = torch.randn(len(theta), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-5
    with torch.no_grad():
        difference = (last_loss(theta + step * along) - last_loss(theta - step * along)) / (2 * step)
    assert gradient @ along == pytest.approx(difference.item(), rel=1e-4)


def test_the_learned_law_knows_the_rate_in_force_and_not_the_base_rate(instances, learner):
    """A base rate of 10 with a scale of 1/100 goes on exactly as a base rate of 0.1 with a scale of 1."""
    theta = theta_at_random(0.1)
    runs = []
    for base_lr in (0.1, 10.0):
        loop = InnerLoop(learner, LearnedRate(base_lr, theta))
        state = loop.init(instances.params)
        log_scale = torch.full_like(state.rate.log_scale, math.log(0.1 / base_lr))
        runs.append(
            loop.unroll(instances, state._replace(rate=state.rate._replace(log_scale=log_scale)))[1].lr
        )
    torch.testing.assert_close(*runs, rtol=1e-9, atol=0)


def test_alignment_is_the_cosine_between_this_gradient_and_the_last(instances, learner):
    network = MetaOptimizer(2, inputs=(Alignment(),))
    theta = network.init_theta(torch.Generator().manual_seed(0)).double()
    loop = InnerLoop(learner, LearnedRate(0.3, theta, network))
    seen, grads, state = [], [], loop.init(instances.params)
    for step in range(3):
        batch = instances.batch(step)
        grads.append(learner.loss_and_grad(state.params, batch)[1])
        # a linear path from the first input to the change alone makes the change of the scale that input
        linear = torch.zeros_like(theta)
        linear[-5 * (network.num_inputs + 1)] = 1
        with_linear = state._replace(rate=state.rate._replace(theta=linear.expand_as(state.rate.theta)))
        before, after = state.rate.log_scale, loop.step(with_linear, batch)[0].rate.log_scale
        seen.append(7 * torch.atanh((after - before) / 7) * 0.5)
        state, _ = loop.step(state, batch)
        assert torch.equal(state.rate.inputs[0], grads[-1])
    assert torch.equal(seen[0], torch.zeros_like(seen[0]))
    for step in (1, 2):
        torch.testing.assert_close(seen[step], torch.cosine_similarity(grads[step], grads[step - 1]))


def test_a_rate_that_sees_alignment_is_a_rate_like_any_other(instances, learner):
    network = MetaOptimizer(2, inputs=make_inputs(INPUTS))
    theta = network.init_theta(torch.Generator().manual_seed(0)).double()
    loop = InnerLoop(learner, LearnedRate(0.3, theta, network))
    state, info = loop.unroll(instances)
    assert torch.equal(info.lr, torch.full_like(info.lr, 0.3)), "untrained, it changes nothing"
    half, _ = loop.unroll(instances, stop=4)
    assert torch.equal(loop.unroll(instances, half, start=4)[0].params, state.params)
    alone, _ = loop.unroll(instances.take(slice(2, 3)))
    torch.testing.assert_close(alone.params, take(state, torch.tensor([2])).params)


def test_trends_are_zero_at_the_first_step_and_averages_start_as_plain_means():
    monitor = Monitor(fast=0.5)
    params = torch.ones(1, 4)
    losses = [math.e**power for power in (0.0, 1.0, 5.0)]
    state = monitor.init(params)
    seen = []
    for loss in losses:
        observation, state = monitor(state, torch.tensor([loss]), 2 * params, params)
        seen.append(observation)
    assert seen[0].loss_trend_fast == seen[0].grad_trend == 0
    assert seen[0].grad_norm == 4
    assert seen[0].weight_norm == 2
    # log losses 0, 1, 5: averages 0, then 1/2, then half-way to 5
    assert [float(each.loss_trend_fast) for each in seen] == pytest.approx([0, 0.5, 2.25], abs=1e-5)


def test_a_loss_that_is_no_number_reads_as_the_largest_loss():
    monitor, params = Monitor(), torch.full((1, 2), torch.nan)
    observation, _ = monitor(monitor.init(params), torch.tensor([torch.nan]), params, params)
    assert observation.log_loss == observation.log_grad_norm == LOG_LIMIT


def test_a_batch_larger_than_the_data_set_is_refused(family, learner):
    with pytest.raises(ValueError, match=r"batch_size=97.*1 to 96 points"):
        draw_instances(family, learner, Seeds("demo", 1), 1, 97)


def test_an_empty_unroll_is_refused(instances, learner):
    with pytest.raises(ValueError, match="holds no step"):
        InnerLoop(learner, Constant(0.1)).unroll(instances, start=3, stop=3)


def test_taking_tasks_keeps_every_leaf_in_step(instances, learner):
    loop = InnerLoop(learner, LearnedRate(0.1, theta_at_random(0.1)), Adam())
    state, _ = loop.unroll(instances, stop=3)
    some = torch.tensor([4, 1])
    picked = take(state, some)
    after, _ = loop.step(picked, instances.batch(3, some))
    whole, _ = loop.step(state, instances.batch(3))
    torch.testing.assert_close(after.params, whole.params[some], rtol=1e-12, atol=1e-14)


def test_a_batch_carries_class_probabilities(instances):
    batch = instances.batch(0)
    assert isinstance(batch, Batch)
    assert torch.equal(batch.target.sum(-1), torch.ones(6, 32, dtype=torch.float64))


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns about itself
def test_a_compiled_step_gives_the_same_answers_to_rounding(instances, learner):
    theta = theta_at_random(0.1)
    plain, compiled = (
        loop(learner, LearnedRate(0.1, theta)).unroll(instances, stop=3) for loop in (InnerLoop, CompiledLoop)
    )
    torch.testing.assert_close(compiled[0].params, plain[0].params, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(compiled[1].lr, plain[1].lr, rtol=1e-9, atol=0)


def test_a_compiled_step_is_the_plain_one_where_there_is_no_compiler(instances, learner, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    _compiled_step.cache_clear()
    loop = LearnedRate(0.1, theta_at_random(0.1))
    plain, compiled = (kind(learner, loop).unroll(instances)[0] for kind in (InnerLoop, CompiledLoop))
    _compiled_step.cache_clear()
    assert torch.equal(plain.params, compiled.params)
