"""The learned update against Adam, a reference written out weight by weight, and the re-expressions of a network."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from metalearn_lib.cards import rule_of, save_theta
from metalearn_lib.directions import learned_update
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.learned_update import LearnedUpdate, UpdateNetwork
from metalearn_lib.evaluate import Cell, by_cell, evaluate
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Method
from metalearn_lib.fused.learner import fuse
from metalearn_lib.inner_loop import InnerLoop, draw_instances
from metalearn_lib.learners import MLP, Batch, Learner, ModuleLearner, tensor_sizes
from metalearn_lib.meta_train import MetaTrainConfig, meta_train, validation_loss
from metalearn_lib.rates.constant import Constant
from metalearn_lib.types import Seeds

NETWORK = UpdateNetwork(4)
RELATIVE = (0.0, -0.1, 1.0, 0.0, 0.0, -0.5)
"""A law under which steps are in proportion to a matrix's own root mean square."""
TINY = MetaTrainConfig(
    direction="adam",
    learned_direction="update",
    controller="constant",
    base_lr_decades=0.0,
    hidden=4,
    num_tasks=4,
    horizon=6,
    batch_size=16,
    outer_steps=3,
)


def theta_at_random(law=None, scale=0.3):
    theta = scale * torch.randn(NETWORK.num_theta, generator=torch.Generator().manual_seed(3)).double()
    if law is not None:
        theta[-6:] = torch.tensor(law)
    return theta


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_untrained_it_is_adam_bit_for_bit(dtype, family, learner):
    instances = draw_instances(family, learner, Seeds("demo", 4), 60, 32, dtype)
    untrained = LearnedUpdate(UpdateNetwork().init_theta(torch.Generator().manual_seed(0)))
    adam, ours = (
        InnerLoop(learner, Constant(0.05), direction.of(learner)).unroll(instances)[0]
        for direction in (Adam(0.9, 0.99), untrained)
    )
    assert torch.equal(adam.params, ours.params)


def by_hand(theta, tensors, gradients, weights, begun):
    """The last direction along gradients `(time, weights)` at the same weights, one weight after another."""
    inner, bias, outer, offset, law = (
        piece.numpy() for piece in theta.split([NETWORK.hidden * 8, NETWORK.hidden, 2 * NETWORK.hidden, 2, 6])
    )
    inner, outer, count = inner.reshape(-1, 8), outer.reshape(2, -1), len(gradients)

    def average(values, decay):
        shares = (1 - decay) * decay ** np.arange(count)[::-1]
        return shares @ values / (1 - decay**count)

    fast, slow = (np.sqrt(average(gradients**2, decay)) + 1e-8 for decay in (0.9, 0.99))
    steps = [average(gradients, decay) / slow for decay in (0.5, 0.9, 0.98)]
    direction, start = [], 0
    for size, fan_in in tensors:
        here = slice(start, start + size)
        noise, own = (math.sqrt(np.mean(each[here] ** 2)) for each in (slow, weights))
        log_factor = law[0] + law[1] * (math.log(count) - 3)
        log_factor += law[4] * math.log(size / max(fan_in, 1) / 32)
        if fan_in:
            log_factor += law[2] * math.log(own / 0.25) + law[3] * math.log(fan_in / 32)
            growth = math.log(own / math.sqrt(np.mean(begun[here] ** 2)))
            log_factor += law[5] * min(max(growth, -1.5), 1.5)
        for i in range(start, start + size):
            sign = math.copysign(1, steps[1][i])
            seen = [sign * step[i] for step in steps] + [
                (fast[i] - slow[i]) / (fast[i] + slow[i]),
                (slow[i] - noise) / (slow[i] + noise),
                sign * min(max(weights[i] / own, -4), 4),
                *(math.sqrt(np.mean(step[here] ** 2)) for step in steps[1:]),
            ]
            turn, magnitude = outer @ np.maximum(inner @ seen + bias, 0) + offset
            direction.append((steps[1][i] + sign * turn) * math.exp(min(max(magnitude, -2), 2) + log_factor))
        start += size
    return np.array(direction)


@pytest.mark.parametrize("count", [1, 2, 9])
def test_it_is_what_the_definition_says_weight_by_weight(count):
    tensors, generator = ((12, 4), (3, 0), (6, 3)), np.random.default_rng(count)
    gradients, weights = generator.normal(size=(count, 21)), generator.normal(size=21)
    weights[5] = 40.0  # beyond what counts
    theta = theta_at_random(scale=0.8)
    rule = LearnedUpdate(theta, tensors, 4)
    params = torch.from_numpy(weights)[None]
    begun = 0.4 * weights + 0.1
    begun[15:] *= 1e-3  # has grown by more than counts
    state = rule.init(torch.from_numpy(begun)[None])
    for gradient in gradients:
        direction, state = rule(state, torch.from_numpy(gradient)[None], params)
    expected = by_hand(theta, tensors, gradients, weights, begun)
    np.testing.assert_allclose(direction[0].numpy(), expected, rtol=1e-9)


def test_opposite_gradients_at_opposite_weights_give_the_opposite_step():
    gradients, weights = torch.randn(9, 1, 21).double(), torch.randn(1, 21).double()
    rule = LearnedUpdate(theta_at_random(scale=0.8), ((12, 4), (3, 0), (6, 3)), 4)
    steps = []
    for sign in (1, -1):
        state = rule.init(weights)
        for gradient in gradients:
            direction, state = rule(state, sign * gradient, sign * weights)
        steps.append(direction)
    assert torch.equal(steps[0], -steps[1])


def test_a_tensor_of_zeros_and_a_gradient_of_zeros_give_numbers():
    rule = LearnedUpdate(theta_at_random(), ((6, 3), (2, 0)), 4)
    nothing = torch.zeros(1, 8, dtype=torch.float64)
    direction, state = rule(rule.init(nothing), nothing, nothing)
    assert direction.isfinite().all()
    direction, _ = rule(state, torch.ones_like(nothing), nothing)
    assert direction.isfinite().all()
    assert (direction != 0).all()


def test_a_task_alone_equals_the_same_task_among_sixty_four(family, learner):
    instances = draw_instances(family, learner, Seeds("demo", 64), 20, 32, torch.float64)
    loop = InnerLoop(learner, Constant(0.02), LearnedUpdate(theta_at_random(), hidden=4).of(learner))
    stacked, _ = loop.unroll(instances)
    for task in (0, 17, 63):
        alone, _ = loop.unroll(instances.take(torch.tensor([task])))
        torch.testing.assert_close(alone.params[0], stacked.params[task], rtol=1e-9, atol=1e-11)


def predictions(rule, sizes, params, batches, loss_scale=1.0):
    """Scores at the points of the first batch after a step on each, `(batch, classes)`."""
    learner = MLP(sizes)
    rule = rule.of(learner)
    state = rule.init(params)
    for batch in batches:
        _, grad = learner.loss_and_grad(params, batch)
        direction, state = rule(state, loss_scale * grad, params)
        params = params - 0.03 * direction
    return learner.logits(params, batches[0].x)[0]


@pytest.fixture
def network(monkeypatch):
    """Sizes, weights, and twenty minibatches, without the eps that binds Adam itself to a scale."""
    monkeypatch.setattr(learned_update, "EPS", 1e-30)
    sizes, generator = (3, 6, 5, 4), torch.Generator().manual_seed(0)
    params = MLP(sizes).init(generator)[None].double()
    x = torch.randn(20, 1, 16, 3, generator=generator, dtype=torch.float64)
    target = torch.eye(4, dtype=torch.float64)[torch.randint(4, (20, 1, 16), generator=generator)]
    return sizes, params, [Batch(*each) for each in zip(x, target, strict=True)]


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_scale_of_the_loss_changes_nothing(factor, network):
    rule = LearnedUpdate(theta_at_random(), hidden=4)
    torch.testing.assert_close(
        predictions(rule, *network, loss_scale=factor), predictions(rule, *network), rtol=1e-7, atol=1e-9
    )


def rescaled(network, factor):
    """The same network of points `factor` times as large."""
    sizes, params, batches = network
    first = sizes[0] * sizes[1]
    params = torch.cat([params[:, :first] / factor, params[:, first:]], 1)
    return sizes, params, [batch._replace(x=factor * batch.x) for batch in batches]


def doubled(network):
    """The same network with each unit of its first hidden layer twice, at half the weights out of it."""
    sizes, params, batches = network
    wide = (sizes[0], 2 * sizes[1], *sizes[2:])
    (inner, bias, outer), rest = params.split([18, 6, 30, params.shape[1] - 54], 1)[:3], params[:, 54:]
    twice = outer.view(1, 5, 6).repeat(1, 1, 2).flatten(1) / 2
    return wide, torch.cat([inner, inner, bias, bias, twice, rest], 1), batches


@pytest.mark.parametrize("other", [lambda net: rescaled(net, 20.0), lambda net: rescaled(net, 0.05), doubled])
def test_with_steps_relative_to_the_weights_the_same_function_stays_the_same(other, network):
    relative = LearnedUpdate(theta_at_random(RELATIVE), hidden=4)
    before = predictions(relative, *network)
    torch.testing.assert_close(predictions(relative, *other(network)), before, rtol=1e-7, atol=1e-9)
    bound = LearnedUpdate(theta_at_random((0.0, -0.1, 0.0, 0.0, 0.0, -0.5)), hidden=4)  # as Adam is
    assert (predictions(bound, *other(network)) - predictions(bound, *network)).abs().max() > 1e-3


def test_tensors_are_told_of_networks_modules_and_the_fused_one_and_of_no_other():
    mlp = MLP((3, 5, 4))
    module = ModuleLearner(lambda: nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4, bias=False)))
    assert tensor_sizes(mlp) == tensor_sizes(fuse(mlp)) == ((15, 3), (5, 0), (20, 5), (4, 0))
    assert tensor_sizes(module) == ((15, 3), (5, 0), (20, 5))
    convolution = ModuleLearner(
        lambda: nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 3), nn.Flatten())
    )
    assert tensor_sizes(convolution) == ((24, 6), (4, 0))

    class Other(Learner):
        init = logits = loss_and_grad = None

    with pytest.raises(ValueError, match="Other does not say what its tensors are; use an MLP"):
        tensor_sizes(Other())


def test_meta_training_at_a_constant_rate_learns_it_and_its_card_gives_it_again():
    config = replace(TINY, num_tasks=16, horizon=24, batch_size=64, outer_steps=20)
    trained = meta_train(config, progress=False)
    assert (
        validation_loss(config, trained.theta, 32) < validation_loss(config, config.init_theta(), 32) - 0.03
    )
    again = meta_train(MetaTrainConfig(**trained.card["config"]), progress=False)
    assert torch.equal(again.theta, trained.theta)


def test_at_a_constant_rate_theta_is_the_direction_s_alone(learner):
    config = replace(TINY, estimator="pes", truncation_length=3)
    assert len(config.init_theta()) == NETWORK.num_theta
    direction, rate = rule_of(config.__dict__, config.init_theta(), 0.5, learner)
    assert rate == Constant(0.5)
    assert torch.equal(direction.theta, config.init_theta())
    trained = meta_train(config, progress=False)  # runs go on from one truncation to the next
    assert (trained.theta != config.init_theta()).all()


def test_in_a_contest_the_untrained_update_is_adam_at_a_rate_of_its_own(family, tmp_path):
    file = tmp_path / "rule.safetensors"
    save_theta(file, TINY.init_theta(), {"config": TINY.__dict__, "validation_loss": {"0": 0.0}})
    cell = Cell("small", family, hidden=(8,), batch_size=32, horizon=24, base_lr_factor=100.0)
    label, recipes = contestant(f"meta-adam:{file}")
    methods = {"Adam": Method(Adam(0.9, 0.99), Constant(Adam.base_lr)), label: recipes}
    seeds = Seeds("score", 4), Seeds("tune", 4)
    outcomes = by_cell(evaluate([cell], methods, *seeds, workers=1, progress=False))["small"].outcomes
    assert np.array_equal(outcomes["Adam"].steps, outcomes[label].steps[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learned_direction": None}, "leaves nothing to learn without a learned_direction"),
        ({"inputs": ("log_lr",)}, "controller='constant' sees nothing"),
        ({"direction": "sgd"}, "begins as 'adam' and has no policy .*direction='adam' and not 'sgd'"),
        ({"estimator": "reinforce"}, "controller='constant' sees nothing and has no policy"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **settings)


def test_a_theta_of_another_network_is_refused(instances, learner):
    loop = InnerLoop(learner, Constant(0.1), LearnedUpdate(torch.zeros(7)).of(learner))
    with pytest.raises(ValueError, match="theta has 7 weights and this update has 96"):
        loop.unroll(instances)


@pytest.mark.parametrize("settings", [{}, {"estimator": "pes", "truncation_length": 3}])
@pytest.mark.parametrize("part", learned_update.PARTS)
def test_a_part_that_is_left_out_stays_as_it_begins_and_the_rest_is_trained(part, settings):
    config = replace(TINY, without=(part,), **settings)
    start, end = config.init_theta(), meta_train(config, progress=False).theta
    assert torch.equal(start != end, NETWORK.trained([part]) == 1)
    inner, _, outer, offset, law = end.split([NETWORK.hidden * 8, NETWORK.hidden, 2 * NETWORK.hidden, 2, 6])
    if part == "network":
        assert not torch.cat([inner, outer, offset]).any()
    elif part == "law":
        assert not law.any()
    else:
        assert not inner.view(-1, 8)[:, learned_update.PARTS[part]].any()


def test_a_part_that_there_is_not_is_refused_and_so_is_what_has_no_parts():
    with pytest.raises(
        ValueError, match=r"without=\['mind'\] names no part of an update; use other_steps, contrasts"
    ):
        replace(TINY, without=("mind",))
    with pytest.raises(ValueError, match="use learned_direction='update', and es or pes"):
        MetaTrainConfig(without=("law",))
