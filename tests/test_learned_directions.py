"""Learned directions against the plain gradient, closed forms, finite differences and themselves alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from metalearn_lib import cli
from metalearn_lib.cards import learned_directions, learned_on, rule_of, save_theta
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.layer_factors import LayerFactors
from metalearn_lib.directions.layer_rates import LayerRates
from metalearn_lib.directions.learned import LearnedParts, split_theta
from metalearn_lib.directions.learned_momentum import LearnedMomentum
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.evaluate import Cell, Tune, by_cell, constant, evaluate
from metalearn_lib.evaluate.contestants import contestant, rival
from metalearn_lib.fused.learner import fuse
from metalearn_lib.gradient_estimators import theta_of, with_theta
from metalearn_lib.inner_loop import InnerLoop, draw_instances
from metalearn_lib.inputs.alignment import Alignment
from metalearn_lib.learners import MLP, Learner, ModuleLearner, layer_sizes
from metalearn_lib.meta_train import MetaTrainConfig, meta_train, validation_loss
from metalearn_lib.monitor import bounded_log
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.types import Seeds

PARTS = {name: kind for name, kind in learned_directions().items() if issubclass(kind, LearnedParts)}
EACH = pytest.mark.parametrize("kind", PARTS.values(), ids=PARTS)
NAMES = pytest.mark.parametrize("name", learned_directions())
BY_LAYER = rival(LayerFactors)
TINY = MetaTrainConfig(num_tasks=4, horizon=6, batch_size=16, outer_steps=3)


def theta_at_random(kind, scale=0.1):
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(kind.network(4).num_theta, generator=generator, dtype=torch.float64)


def learning(config, name, **settings):
    """The same meta-training, but of a learned direction beside the rate."""
    begins_as = learned_directions()[name].begins_as
    return replace(config, learned_direction=name, direction=begins_as, **settings)


def saying(kind, change):
    """Meta-parameters that ask for the same change of the log scale at every step, whatever they see."""
    network = kind.network(4)
    theta = torch.zeros(network.num_theta, dtype=torch.float64)
    theta[-network.num_outputs] = network.bound * math.atanh(change / network.bound)
    return theta


def unroll(direction, gradients, params):
    """The directions along given gradients `(time, tasks, weights)`."""
    state, directions = direction.init(params), []
    for grad in gradients:
        step, state = direction(state, grad, params)
        directions.append(step)
    return torch.stack(directions), state


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_untrained_it_is_the_direction_that_it_begins_as_bit_for_bit(kind, dtype, family, learner):
    instances = draw_instances(family, learner, Seeds("demo", 4), 20, 32, dtype)
    untrained = kind.network(4).init_theta(torch.Generator().manual_seed(0))
    learned = kind(untrained, layer_sizes(learner), 4)
    plain, placebo = (
        InnerLoop(learner, Constant(0.3), direction).unroll(instances)[0]
        for direction in (learned_on()[kind.begins_as], learned)
    )
    assert torch.equal(plain.params, placebo.params)


@EACH
def test_a_task_alone_equals_the_same_task_among_sixty_four(kind, family, learner):
    instances = draw_instances(family, learner, Seeds("demo", 64), 20, 32, torch.float64)
    loop = InnerLoop(learner, Constant(0.1), kind(theta_at_random(kind), layer_sizes(learner), 4))
    stacked, _ = loop.unroll(instances)
    for task in (0, 17, 63):
        alone, _ = loop.unroll(instances.take(torch.tensor([task])))
        torch.testing.assert_close(alone.params[0], stacked.params[task], rtol=1e-10, atol=1e-12)


@EACH
def test_it_stays_finite_and_within_its_limits_while_training_diverges(kind, instances, learner):
    loop = InnerLoop(learner, Constant(1e6), kind(theta_at_random(kind, 1.0), layer_sizes(learner), 4))
    state, _ = loop.unroll(instances)
    low, high = kind.limits
    assert ((low <= state.direction.log_scale) & (state.direction.log_scale <= high)).all()
    assert state.direction.memory.isfinite().all()


def test_each_layer_of_the_gradient_is_scaled_by_a_factor_that_the_network_moves():
    layers, grad = (3, 5), torch.randn(4, 2, 8, dtype=torch.float64)
    steps, _ = unroll(LayerRates(saying(LayerRates, 0.25), layers, 4), grad, torch.ones_like(grad[0]))
    factors = torch.exp(0.25 * torch.arange(1, 5, dtype=torch.float64))
    torch.testing.assert_close(steps, factors[:, None, None] * grad)
    steps, state = unroll(LayerRates(saying(LayerRates, 6.0), layers, 4), grad, torch.ones_like(grad[0]))
    torch.testing.assert_close(steps[2:], math.exp(7) * grad[2:])  # the greatest factor
    assert state.log_scale.shape == (2, 2)


def test_a_layer_sees_its_own_norms_and_how_they_move():
    """A network with one weight, on one input, asks for a change that can be told by hand."""
    layers = (3, 5)
    grad, params = torch.randn(2, 1, 8, dtype=torch.float64), torch.randn(1, 8, dtype=torch.float64)
    network = LayerRates.network(4)
    linear_path = 4 * network.num_inputs + 4 + 4 * network.num_outputs  # after the hidden layer's own weights

    def log_scale(name):
        theta = torch.zeros(network.num_theta, dtype=torch.float64)
        theta[linear_path + [each.name for each in network.inputs].index(name)] = 0.1
        return unroll(LayerRates(theta, layers, 4), grad, params)[1].log_scale[0]

    def norms(whole):
        return torch.stack([piece.norm() for piece in whole[0].split(layers)])

    def expected(first, second):
        change = [7 * torch.tanh(0.1 * value / 7) for value in (first, second)]
        return change[0] + change[1]

    log_weight = (norms(params).log() - 2.1) / 0.5
    torch.testing.assert_close(log_scale("log_weight_norm"), expected(log_weight, log_weight))
    first, second = (norms(each).log() for each in grad)
    torch.testing.assert_close(
        log_scale("log_grad_norm"), expected((first + 0.5) / 1.5, (second + 0.5) / 1.5)
    )
    moved = (second - (first + second) / 2) / 0.5  # after two steps the average is the plain mean
    torch.testing.assert_close(log_scale("grad_trend"), expected(torch.zeros(2), moved))


def test_constant_factors_give_the_weights_of_torch_optim_with_a_rate_for_each_layer(instances, learner):
    layers, rates = layer_sizes(learner), (0.3, 0.06, 0.012)
    state, _ = InnerLoop(learner, Constant(0.3), LayerFactors(0.2).of(learner)).unroll(instances)
    params = [piece.clone().requires_grad_() for piece in instances.params[0].split(layers)]
    optimizer = torch.optim.SGD(
        [{"params": [each], "lr": lr} for each, lr in zip(params, rates, strict=True)]
    )
    for step in range(instances.num_steps):
        optimizer.zero_grad()
        learner.loss(torch.cat(params)[None], instances.batch(step, torch.tensor([0]))).sum().backward()
        optimizer.step()
    torch.testing.assert_close(state.params[0], torch.cat(params).detach(), rtol=1e-10, atol=1e-12)


def test_with_the_longest_span_it_is_the_mean_of_all_gradients_so_far():
    grad = torch.randn(30, 2, 8, dtype=torch.float64)
    longest = LearnedMomentum(saying(LearnedMomentum, 6.0), (8,), 4)
    steps, state = unroll(longest, grad, torch.ones_like(grad[0]))
    count = torch.arange(1, 31, dtype=torch.float64)
    torch.testing.assert_close(steps, grad.cumsum(0) / count[:, None, None])
    torch.testing.assert_close(state.log_scale, torch.full((2, 1), math.log(100.0)).double())


def test_once_begun_a_constant_span_is_momentum_at_a_rate_as_many_times_as_large():
    grad = torch.randn(30, 2, 8, dtype=torch.float64)
    params, span = torch.ones(2, 8, dtype=torch.float64), 5.0
    learned = LearnedMomentum(torch.zeros(LearnedMomentum.network(4).num_theta), (8,), 4)
    state = learned.init(params)._replace(
        log_scale=torch.full((2, 1), math.log(span)).double(),
        num_steps=torch.full((2, 1), 1000.0).double(),
    )
    velocity, _ = unroll(Momentum(1 - 1 / span), grad, params)
    for step, expected in zip(grad, velocity, strict=True):
        direction, state = learned(state, step, params)
        torch.testing.assert_close(span * direction, expected)


def test_momentum_sees_whether_the_gradient_agrees_with_the_average():
    network = LearnedMomentum.network(4)
    theta = torch.zeros(network.num_theta, dtype=torch.float64)
    linear_path = 4 * network.num_inputs + 4 + 4 * network.num_outputs
    theta[linear_path + network.inputs.index(Alignment())] = 1.0
    ones = torch.ones(1, 8, dtype=torch.float64)
    agreeing = unroll(LearnedMomentum(theta, (8,), 4), [ones, ones], ones)[1].log_scale
    torch.testing.assert_close(agreeing, 7 * torch.tanh(torch.tensor([[2 / 7]])).double())  # 0, then 1 / 0.5
    opposed = unroll(LearnedMomentum(theta, (8,), 4), [ones, -ones], ones)[1].log_scale
    assert opposed == 0  # no span is below 1


@NAMES
def test_the_meta_loss_has_the_derivative_that_finite_differences_find(name, instances, learner):
    config = learning(TINY, name, hidden=4)
    smooth = MLP((learner.sizes[0], 6, learner.sizes[-1]), activation="tanh")
    weights = torch.stack(
        [smooth.init(torch.Generator().manual_seed(s)) for s in range(len(instances.params))]
    )
    points = instances._replace(params=weights.double())
    num_theta = len(config.init_theta())
    theta = 0.05 * torch.randn(num_theta, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(theta):
        _, info = config.loop(config.direction, smooth, 0.05, theta).unroll(points, stop=5)
        return bounded_log(info.loss).mean()

    theta.requires_grad_()
    (slope,) = torch.autograd.grad(loss(theta), theta)
    for place in torch.linspace(0, num_theta - 1, 12).long():
        nudge = torch.zeros_like(theta)
        nudge[place] = 1e-6
        with torch.no_grad():
            difference = (loss(theta + nudge) - loss(theta - nudge)) / 2e-6
        assert slope[place].item() == pytest.approx(difference.item(), rel=1e-4, abs=1e-9)


def test_layers_are_told_of_networks_modules_and_the_fused_one_and_of_no_other():
    mlp = MLP((3, 5, 4))
    module = ModuleLearner(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4, bias=False)))
    assert layer_sizes(mlp) == layer_sizes(fuse(mlp)) == (20, 24)
    assert layer_sizes(module) == (20, 20)

    class Other(Learner):
        init = logits = loss_and_grad = None

    with pytest.raises(ValueError, match="Other does not say what its layers are; use an MLP"):
        layer_sizes(Other())


@NAMES
def test_one_theta_holds_the_rate_s_part_and_then_the_direction_s(name, instances, learner):
    config = learning(TINY, name, hidden=4)
    theta = torch.arange(float(len(config.init_theta()))).double()
    loop = config.loop(config.direction, learner, 0.1, theta)
    state = loop.init(instances.params)
    assert torch.equal(theta_of(state)[0], theta)
    rate = LearnedRate(0.1, theta, config.meta_optimizer)
    assert torch.equal(state.rate.theta[0], theta[: rate.meta_optimizer.num_theta])
    other = theta.expand(len(instances.params), -1) + 1
    assert torch.equal(theta_of(with_theta(state, other)), other)
    assert [len(part) for part in split_theta(theta, 3)] == [len(theta) - 3, 3]


@NAMES
def test_meta_training_learns_it_and_its_card_gives_it_again(name):
    config = MetaTrainConfig(num_tasks=16, horizon=24, batch_size=64, outer_steps=20, base_lr_decades=1.0)
    config = learning(config, name)
    if name == "update":  # a hundred numbers move every weight: smaller steps, and more of them
        config = replace(config, outer_steps=40, outer_lr=0.03)
    trained = meta_train(config, progress=False)
    before = config.init_theta()
    assert validation_loss(config, trained.theta, 32) < validation_loss(config, before, 32) - 0.1
    own = learned_directions()[name].network().num_theta
    assert ((trained.theta - before)[-own:] != 0).all()
    again = meta_train(MetaTrainConfig(**trained.card["config"]), progress=False)
    assert torch.equal(again.theta, trained.theta)


@pytest.mark.parametrize("name", [name for name, kind in PARTS.items() if kind.begins_as == "sgd"])
def test_in_a_contest_the_untrained_rule_is_sgd(name, family, tmp_path):
    config = replace(TINY, learned_direction=name, base_lr=0.5)
    file = tmp_path / "rule.safetensors"
    card = {"config": config.__dict__, "validation_loss": {"0": 0.0}}
    save_theta(file, config.init_theta(), card)
    label, recipes = contestant(f"meta:{file}")
    assert str(file) in label
    cell = Cell("small", family, hidden=(8,), batch_size=32, horizon=24)
    sgd = Tune(constant(Gradient()), cell)
    methods = {"SGD": sgd, "learned": [replace(each, base=sgd) for each in recipes]}
    seeds = Seeds("score", 4), Seeds("tune", 4)
    outcomes = by_cell(evaluate([cell], methods, *seeds, workers=1, progress=False))["small"].outcomes
    assert np.array_equal(outcomes["SGD"].steps, outcomes["learned"].steps[0])
    assert isinstance(recipes[0].direction, learned_directions()[name])


def test_a_rate_for_each_layer_is_tuned_and_with_equal_ones_it_is_sgd(family):
    cell = Cell("small", family, hidden=(8,), batch_size=32, horizon=24, base_lr_factor=0.5)
    methods = {
        "SGD": Tune(constant(Gradient()), cell),
        "equal": Tune(replace(BY_LAYER, numbers=(1.0,)), cell),
        "by layer": Tune(replace(BY_LAYER, numbers=(0.3, 1.0))),
    }
    table = evaluate([cell], methods, Seeds("score", 4), Seeds("tune", 4), workers=1, progress=False)
    steps, equal, by_layer = (table[table.method == name] for name in methods)
    assert np.array_equal(steps.steps, equal.steps)
    assert set(by_layer.number) <= {0.3, 1.0}
    assert by_layer.tuning_gradients.iloc[0] > equal.tuning_gradients.iloc[0]
    numbers = {"lr": 0.8, "number": 0.3}
    made = Tune(BY_LAYER).method(numbers, cell, Seeds("score", 1))
    first, second = (int(size) for size in layer_sizes(cell.learner))
    factors, _ = made.loop(cell).direction((), torch.ones(1, first + second), torch.ones(1, first + second))
    torch.testing.assert_close(factors, torch.tensor([[1.0] * first + [0.3] * second]))
    assert made.rate == Constant(0.8)
    assert Tune(BY_LAYER, cell).method(numbers, cell, Seeds("score", 1)).rate == Constant(
        0.4
    )  # mis-set by the cell


def test_other_files_and_names_are_entered_as_they_were():
    assert contestant("meta:sgd")[1][0].direction == Gradient()
    assert contestant("sgd@B")[0] == "SGD re-tuned on B"
    label, recipe = contestant("sgd-layers@B")
    assert (label, recipe.on, recipe.rival.numbers) == ("SGD by layer re-tuned on B", None, BY_LAYER.numbers)
    assert recipe.rival.numbers[-1] == 1  # SGD itself is tried
    with pytest.raises(ValueError, match="'sgd-layers@C' is unknown"):
        contestant("sgd-layers@C")


def test_a_file_s_rule_is_told_by_its_card(learner):
    config = replace(TINY, learned_direction="momentum")
    direction, rate = rule_of(config.__dict__, config.init_theta(), 0.5, learner)
    assert isinstance(direction, LearnedMomentum)
    assert isinstance(rate, LearnedRate)
    direction, _ = rule_of(TINY.__dict__, TINY.init_theta(), 0.5, learner)
    assert direction == Gradient()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["--learned-direction", "layers"],
            "unknown; use one of layer_rates, adam_layer_rates, momentum, update",
        ),
        (["--learned-direction", "momentum", "--direction", "adam"], "use direction='sgd' and not 'adam'"),
        (
            ["--learned-direction", "momentum", "--estimator", "reinforce"],
            "es, pes or backprop and not reinforce",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused_with_what_can(settings, message, tmp_path, capsys):
    assert cli.main(["train", "--out", str(tmp_path / "x.safetensors"), *settings]) == 2
    assert message in capsys.readouterr().err
