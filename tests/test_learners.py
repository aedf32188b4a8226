import pytest
import torch
from torch import nn

from metalearn_lib.inner_loop import draw_instances
from metalearn_lib.learners import MLP, Batch, ModuleLearner
from metalearn_lib.types import Seeds


def test_the_hand_written_gradient_equals_autograds(instances, learner):
    params = instances.params.clone().requires_grad_()
    batch = instances.batch(0)
    expected = learner.loss(params, batch)
    (gradient,) = torch.autograd.grad(expected.sum(), params)
    loss, grad = learner.loss_and_grad(instances.params, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(grad, gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_hand_written_gradient_of_every_activation_equals_autograds(activation):
    learner = MLP((3, 7, 5, 4), activation, init_scale=2.0)
    generator = torch.Generator().manual_seed(0)
    params = torch.stack([learner.init(generator) for _ in range(2)]).double().requires_grad_()
    x = torch.randn(2, 16, 3, generator=generator, dtype=torch.float64)
    batch = Batch(x, torch.eye(4, dtype=torch.float64)[torch.randint(4, (2, 16), generator=generator)])
    (expected,) = torch.autograd.grad(learner.loss(params, batch).sum(), params)
    loss, grad = learner.loss_and_grad(params.detach(), batch)
    torch.testing.assert_close(loss, learner.loss(params, batch).detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(grad, expected, rtol=1e-11, atol=1e-14)


def test_the_initial_matrices_are_scaled_and_nothing_else():
    plain, scaled = (MLP((3, 7, 4), init_scale=s).init(torch.Generator().manual_seed(1)) for s in (1.0, 3.0))
    torch.testing.assert_close(scaled, 3 * plain)


def test_any_module_gives_the_answers_of_the_mlp(instances, learner):
    module = ModuleLearner(
        lambda: nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    )
    assert module.num_params == learner.num_params
    batch = instances.batch(0)
    ours, theirs = (each.loss_and_grad(instances.params, batch) for each in (learner, module))
    torch.testing.assert_close(theirs[0], ours[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(theirs[1], ours[1], rtol=1e-11, atol=1e-14)


def test_a_module_is_initialised_by_the_instance_and_not_by_the_global_generator(family):
    module = ModuleLearner(lambda: nn.Sequential(nn.Linear(2, 4)))
    torch.manual_seed(1)
    first = draw_instances(family, module, Seeds("demo", 2), 1, 8)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    second = draw_instances(family, module, Seeds("demo", 2), 1, 8)
    assert torch.equal(first.params, second.params)
    assert not torch.equal(first.params[0], first.params[1])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_module_with_running_statistics_is_refused():
    with pytest.raises(ValueError, match=r"BatchNorm1d has buffers.*GroupNorm"):
        ModuleLearner(lambda: nn.BatchNorm1d(2))


def test_a_network_of_no_layers_or_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match=r"sizes=\(2,\) is no network"):
        MLP((2,))
    with pytest.raises(ValueError, match="use relu or tanh"):
        MLP((2, 2), "gelu")
