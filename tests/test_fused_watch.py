"""The step of a monitor and a rule in C++ is that of PyTorch, and refuses what does not fit."""

import math
import shutil

import pytest
import torch

from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.fused import watch
from metalearn_lib.inputs import make_inputs
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.monitor import Monitor
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.trees import leaves, tree_map

needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
BEEN = torch.tensor([[0.5], [2.0]])
TRAVELLING = (
    "elasticity",
    "loss_trend_slowest",
    "log_steps",
    "relative_sign_step",
    "relative_step",
    "loss_noise",
)
WAYS = {"C++": watch.decider, "PyTorch": watch._in_pytorch}


def made(name, way):
    if name == "travelling":
        network = MetaOptimizer(inputs=make_inputs(TRAVELLING))
        theta = 0.1 * torch.randn(network.num_theta, generator=torch.Generator().manual_seed(1))
        rate = LearnedRate(1.0, theta, network)
    else:
        theta, card = load_theta(name)
        _, rate = rule_of(card["config"], theta)
    weights = torch.zeros(1, 9)
    states = tree_map(torch.clone, (rate.init(weights), Monitor().init(weights)))
    been = BEEN.expand(2, len(rate.meta_optimizer.inputs))
    return WAYS[way](rate, Monitor(), *states, been), states, rate


@needs_a_compiler
@pytest.mark.parametrize("name", ["sgd_long", "momentum_multi", "adam_multi", "travelling"])
def test_both_ways_move_the_states_alike_and_see_inputs_as_far_away(name):
    (fast, ours, _), (plain, theirs, _) = made(name, "C++"), made(name, "PyTorch")
    assert watch.DECIDE.function is not None
    shown = 3 * torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    for number, step in enumerate(shown.tolist()):
        step = [math.nan, *step[1:]] if number == 20 else step
        assert fast(*step, 0.1) == pytest.approx(plain(*step, 0.1), rel=1e-4)
        for own, other in zip(leaves(ours), leaves(theirs), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5)
    assert float(ours[0].log_scale) != 0


@pytest.mark.parametrize("way", WAYS)
def test_the_states_are_moved_by_what_the_rate_and_the_monitor_say(way):
    decide, (state, seen), rate = made("sgd_long", way)
    before = tree_map(torch.clone, (state, seen))
    furthest = decide(0.7, 2.0, 3.0, 0.25)
    observation, after = Monitor()(
        before[1], torch.tensor([0.7]), torch.tensor([[2.0]]), torch.tensor([[3.0]])
    )
    told, moved = rate.told(before[0]._replace(base_lr=torch.tensor([0.25])), observation)
    _, moved = rate.apply(*reversed(rate.answer(told, moved)))
    torch.testing.assert_close((state, seen), (moved, after), rtol=1e-5, atol=1e-6)
    assert furthest == pytest.approx(float((told - 0.5).abs().max()) / 2, rel=1e-5)


@needs_a_compiler
def test_a_theta_of_another_size_is_refused():
    _, (state, seen), rate = made("sgd_long", "C++")
    decide = watch.decider(
        rate, Monitor(), state._replace(theta=state.theta[:, 1:].contiguous()), seen, BEEN.expand(2, 8)
    )
    with pytest.raises(ValueError, match="another size than the rule"):
        decide(1.0, 1.0, 1.0, 1.0)
