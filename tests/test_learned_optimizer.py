"""The learned update on a model of one's own, against the library's own loop."""

import copy
import pickle

import pytest
import torch
from torch import nn

from metalearn_lib import LearnedOptimizer, LearnedUpdate, load_theta
from metalearn_lib.cards import rule_of
from metalearn_lib.directions.adam import Adam
from metalearn_lib.inner_loop import InnerLoop, draw_instances
from metalearn_lib.learners import ModuleLearner
from metalearn_lib.rates.constant import Constant
from metalearn_lib.types import Seeds

X = torch.randn(30, 16, 2, generator=torch.Generator().manual_seed(0))
Y = torch.randint(4, (30, 16), generator=torch.Generator().manual_seed(1))


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return network()


def train(model, optimizer, steps=range(30)):
    for step in steps:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(X[step].to(next(model.parameters()))), Y[step]).backward()
        optimizer.step()
    return torch.cat([each.detach().flatten() for each in model.parameters()])


def test_it_takes_the_inner_loops_own_steps(model, family):
    learner = ModuleLearner(network)
    instances = draw_instances(family, learner, Seeds("demo", 1), 12, 32)
    nn.utils.vector_to_parameters(instances.params[0].clone(), model.parameters())
    theta, card = load_theta("update")
    direction, _ = rule_of(card["config"], theta)
    expected, _ = InnerLoop(learner, Constant(Adam.base_lr), direction.of(learner)).unroll(instances)
    optimizer = LearnedOptimizer(model.parameters())
    for step in range(12):
        batch = instances.batch(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.x[0]), batch.target[0]).backward()
        optimizer.step()
    found = nn.utils.parameters_to_vector(model.parameters())
    torch.testing.assert_close(found, expected.params[0], rtol=1e-4, atol=1e-5)


def test_it_learns(model):
    x, y = X.flatten(0, 1), (X.flatten(0, 1)[:, 0] > 0).long()
    optimizer = LearnedOptimizer(model.parameters())
    losses = []
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(x), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 5


def test_a_run_that_is_saved_and_resumed_gives_the_same_bits(model, tmp_path):
    other = copy.deepcopy(model)
    whole = train(model, LearnedOptimizer(model.parameters()))
    optimizer = LearnedOptimizer(other.parameters())
    train(other, optimizer, range(15))
    torch.save({"model": other.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "kept.pt")
    kept = torch.load(tmp_path / "kept.pt", weights_only=True)
    again = network()
    again.load_state_dict(kept["model"])
    optimizer = LearnedOptimizer(again.parameters())
    optimizer.load_state_dict(kept["optimizer"])
    assert torch.equal(train(again, optimizer, range(15, 30)), whole)


def test_what_it_keeps_stays_float32_where_weights_are_not(model):
    model = model.to(torch.bfloat16)
    optimizer = LearnedOptimizer(model.parameters())
    assert train(model, optimizer, range(3)).isfinite().all()
    loaded = LearnedOptimizer(model.parameters())
    loaded.load_state_dict(optimizer.state_dict())
    for each in (optimizer, loaded):
        kept = [value for state in each.state.values() for value in state.values()]
        assert len(kept) == 4 * 4
        assert {value.dtype for value in kept} == {torch.float32}


def test_groups_have_rates_of_their_own_and_one_of_nought_stays_where_it_is(model):
    first, second = model[0], model[2]
    before = copy.deepcopy(first.state_dict())
    optimizer = LearnedOptimizer([{"params": first.parameters(), "lr": 0.0}, {"params": second.parameters()}])
    train(model, optimizer, range(3))
    assert all(torch.equal(before[name], value) for name, value in first.state_dict().items())
    assert len(optimizer.state) == 2


def test_twice_the_factor_is_twice_the_first_step(model):
    other = copy.deepcopy(model)
    start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    once = train(model, LearnedOptimizer(model.parameters()), range(1)) - start
    twice = train(other, LearnedOptimizer(other.parameters(), lr=2.0), range(1)) - start
    torch.testing.assert_close(twice, 2 * once)
    optimizer = LearnedOptimizer(other.parameters(), lr=torch.tensor(2.0))
    nn.utils.vector_to_parameters(start.clone(), other.parameters())
    torch.testing.assert_close(train(other, optimizer, range(1)) - start, twice)


def test_a_schedule_on_top_multiplies_the_steps(model):
    optimizer = LearnedOptimizer(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    train(model, optimizer, range(1))
    schedule.step()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    assert torch.equal(train(model, optimizer, range(1, 4)), before)


def test_weights_decay_beside_the_update(model):
    other = copy.deepcopy(model)
    start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    plain = train(model, LearnedOptimizer(model.parameters()), range(1))
    decayed = train(other, LearnedOptimizer(other.parameters(), weight_decay=0.1), range(1))
    torch.testing.assert_close(decayed, plain - 0.1 * start)


def test_a_closure_is_called_and_its_loss_returned(model):
    optimizer, calls = LearnedOptimizer(model.parameters()), []

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X[0]), Y[0])
        loss.backward()
        calls.append(loss)
        return loss

    assert optimizer.step(closure) is calls[0]
    assert len(calls) == 1


def test_frozen_weights_and_gradients_of_nought_do_no_harm(model):
    model[0].weight.requires_grad_(False)
    optimizer = LearnedOptimizer(model.parameters())
    train(model, optimizer, range(2))
    assert len(optimizer.state) == 3
    for each in model.parameters():
        each.grad = torch.zeros_like(each)
    optimizer.step()
    assert all(each.isfinite().all() for each in model.parameters())


def test_it_can_be_copied_and_pickled(model):
    optimizer = LearnedOptimizer(model.parameters())
    train(model, optimizer, range(2))
    assert len(copy.deepcopy(optimizer).state) == 4
    assert len(pickle.loads(pickle.dumps(optimizer)).state) == 4


def test_convolutions_and_a_layer_born_nought_train(model):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4, 2))
    nn.init.zeros_(net[3].weight)
    optimizer = LearnedOptimizer(net.parameters())
    assert optimizer._for(net[0].weight).tensors == ((27, 9),)
    x = torch.randn(64, 1, 4, 4)
    y = (x.mean((1, 2, 3)) > 0).long()
    for _ in range(60):
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5


def test_a_sparse_gradient_and_a_rule_of_another_kind_are_refused_with_the_remedy():
    table = nn.Embedding(5, 3, sparse=True)
    optimizer = LearnedOptimizer(table.parameters())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="use sparse=False"):
        optimizer.step()
    with pytest.raises(ValueError, match="'sgd' is no update at a constant rate; train one"):
        LearnedOptimizer(table.parameters(), "sgd")
    with pytest.raises(ValueError, match=r"lr=-1 must be 0 or more"):
        LearnedOptimizer(table.parameters(), lr=-1)
    assert isinstance(optimizer.rule, LearnedUpdate)
