import shutil
from types import SimpleNamespace

import pytest
import torch

from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.adam_layer_rates import AdamLayerRates
from metalearn_lib.directions.adamw import AdamW
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.layer_rates import LayerRates
from metalearn_lib.directions.learned_momentum import LearnedMomentum
from metalearn_lib.directions.learned_update import LearnedUpdate
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.directions.nesterov import Nesterov
from metalearn_lib.fused import loop as fused_loop
from metalearn_lib.fused.compile import integers
from metalearn_lib.fused.learner import fuse
from metalearn_lib.fused.loop import FusedLoop
from metalearn_lib.gradient_estimators import theta_of, with_theta
from metalearn_lib.inner_loop import CompiledLoop, InnerLoop, draw_instances
from metalearn_lib.inputs import INPUTS, make_inputs
from metalearn_lib.learners import MLP, layer_sizes
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.meta_train.problems import Problems
from metalearn_lib.monitor import Monitor
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.rates.learned_schedule import LearnedSchedule
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.trees import leaves, twice
from metalearn_lib.types import Seeds

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on the path")
LEARNER = MLP((3, 7, 5, 4))
LAYERS = layer_sizes(LEARNER)


@pytest.fixture
def calls(monkeypatch):
    """How often the C++ function has run."""
    unroll, made = fused_loop.UNROLL.function, []

    def counting(*arguments):
        made.append(arguments)
        unroll(*arguments)

    monkeypatch.setattr(fused_loop, "UNROLL", SimpleNamespace(function=counting))
    return made


def problem(rate, direction=Gradient(), monitor=Monitor(), num_tasks=5, arms=2):
    """Instances, the state of `arms` runs on each under thetas of their own, and both loops."""
    family = GaussianMixture(num_features=3, num_points=64, num_test=8)
    instances = draw_instances(family, LEARNER, Seeds("demo", num_tasks), 8, 20)
    plain, ours = (kind(fuse(LEARNER), rate, direction, monitor) for kind in (InnerLoop, FusedLoop))
    state = plain.init(instances.params)
    state = twice(state) if arms == 2 else state
    if isinstance(rate, LearnedRate) or isinstance(direction, LearnedUpdate):
        shape = (arms * num_tasks, theta_of(state).shape[1])
        theta = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        state = with_theta(state, theta)
    if isinstance(rate, LearnedRate):
        base_lr = torch.logspace(-2, 2, arms * num_tasks) * state.rate.base_lr
        state = state._replace(rate=state.rate._replace(base_lr=base_lr))
    return instances, state, plain, ours


def update(hidden=8):
    """A learned update, whose theta says nothing until it is set."""
    return LearnedUpdate(torch.zeros(LearnedUpdate.network(hidden).num_theta), hidden=hidden).of(LEARNER)


def learned(base_lr=0.1, **settings):
    meta_optimizer = MetaOptimizer(**settings)
    return LearnedRate(base_lr, torch.zeros(meta_optimizer.num_theta), meta_optimizer)


@pytest.mark.parametrize("arms", [1, 2])
@pytest.mark.parametrize(
    ("rate", "direction", "monitor"),
    [
        (learned(), Gradient(), Monitor()),
        (learned(0.05), Momentum(0.8), Monitor()),
        (learned(0.01), Adam(0.7, 0.95, 1e-6), Monitor()),
        (learned(0.05), LayerRates(torch.zeros(LayerRates.network(5).num_theta), LAYERS, 5), Monitor()),
        (learned(1e-5), AdamLayerRates(torch.zeros(LayerRates.network(5).num_theta), LAYERS, 5), Monitor()),
        (Constant(0.01), update(8), Monitor()),
        (learned(1e-4, bound=0.2), update(3), Monitor()),
        (Constant(0.05), Gradient(), Monitor(0.3, 0.6)),
        (learned(hidden=3, bound=0.5, inputs=make_inputs()[::-3]), Gradient(), Monitor(0.3, 0.6)),
        *((learned(inputs=(kind(),)), Gradient(), Monitor()) for kind in fused_loop.INPUTS),
    ],
    ids=[
        *("gradient", "momentum", "adam", "rates of layers", "rates of layers on adam"),
        *("update", "update at a learned rate", "constant", "other settings"),
        *(f"told {kind.name} alone" for kind in fused_loop.INPUTS),
    ],
)
def test_it_gives_the_loops_own_answers_over_two_truncations(rate, direction, monitor, arms, calls):
    instances, state, plain, ours = problem(rate, direction, monitor, arms=arms)
    kept = [leaf.clone() for leaf in leaves(state)]
    with torch.no_grad():
        for start, stop in ((0, 5), (5, None)):
            (expected, told), (after, info) = (
                loop.unroll(instances, state, start, stop) for loop in (plain, ours)
            )
            for one, other in zip(leaves((after, info)), leaves((expected, told)), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
            assert all(map(torch.equal, leaves(state), kept)), "the state that is given is not touched"
            state, kept = expected, [leaf.clone() for leaf in leaves(expected)]
    assert len(calls) == 2


@pytest.mark.parametrize("push", [9.0, -9.0])
def test_log_scales_and_logarithms_stop_at_the_same_limits(push, calls):
    instances, state, plain, ours = problem(
        learned(), LayerRates(torch.zeros(LayerRates.network().num_theta), LAYERS)
    )
    theta = torch.zeros_like(theta_of(state))
    for last in (state.rate.theta.shape[1], theta.shape[1]):  # each network ends with its outputs' offsets
        theta[:, last - 5] = push
    with torch.no_grad():
        (expected, told), (after, info) = (
            loop.unroll(instances, with_theta(state, theta)) for loop in (plain, ours)
        )
    assert len(calls) == 1
    assert (expected.rate.log_scale.abs() == 20).all()
    assert (expected.direction.log_scale.abs() == 7).all()
    for one, other in zip(leaves((after, info)), leaves((expected, told)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_untrained_it_is_the_constant_rate(calls):
    instances, _, _, ours = problem(learned(0.1))
    _, info = ours.unroll(instances)
    assert len(calls) == 1
    assert (info.lr == torch.tensor(0.1)).all()
    _, constant = InnerLoop(LEARNER, Constant(0.1)).unroll(instances)
    torch.testing.assert_close(info.loss, constant.loss, rtol=1e-5, atol=1e-6)


def test_a_run_that_diverges_reads_as_in_the_loop_and_its_neighbours_stay_as_they_are(calls):
    instances, state, plain, ours = problem(learned())
    healthy, _ = ours.unroll(instances, state)
    params = state.params.clone()
    params[3] = torch.inf
    broken = state._replace(params=params)
    (expected, told), (after, info) = (loop.unroll(instances, broken) for loop in (plain, ours))
    for one, other in zip(leaves((after, info)), leaves((expected, told)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert len(calls) == 2
    assert not info.loss[3].isfinite().any()
    others = torch.arange(len(params)) != 3
    for one, other in zip(leaves(after), leaves(healthy), strict=True):
        assert torch.equal(one[others], other[others])


def test_a_task_does_not_depend_on_its_neighbours(calls):
    instances, state, _, ours = problem(learned(), Adam(), arms=1)
    whole, _ = ours.unroll(instances, state)
    alone, _ = ours.unroll(
        instances.take(torch.tensor([2])), type(state)(*(_third(branch) for branch in state))
    )
    assert len(calls) == 2
    assert all(torch.equal(one[2:3], other) for one, other in zip(leaves(whole), leaves(alone), strict=True))


def _third(branch):
    if isinstance(branch, torch.Tensor):
        return branch[2:3]
    return type(branch)(*map(_third, branch)) if hasattr(branch, "_fields") else tuple(map(_third, branch))


@pytest.mark.parametrize(
    ("rate", "direction"),
    [
        (LearnedSchedule(0.1, torch.zeros(3)), Gradient()),
        (learned(inputs=make_inputs(INPUTS)), Gradient()),
        (learned(), Nesterov()),
        (learned(), AdamW()),
        (learned(), LearnedMomentum(torch.zeros(LearnedMomentum.network().num_theta), LAYERS)),
    ],
    ids=["a schedule", "alignment", "nesterov", "adamw", "a learned momentum"],
)
def test_what_it_does_not_hold_is_the_loops_own_bit_for_bit(rate, direction, calls):
    instances, state, plain, ours = problem(rate, direction)
    with torch.no_grad():
        results = [leaves(loop.unroll(instances, state)) for loop in (plain, ours)]
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    assert not calls


def test_what_is_differentiated_or_is_float64_is_the_loops_own(calls):
    instances, state, plain, ours = problem(learned())
    theta = state.rate.theta.clone().requires_grad_()
    _, info = ours.unroll(instances, with_theta(state, theta))
    (along,) = torch.autograd.grad(info.loss[:, -1].sum(), theta)
    assert along.abs().sum() > 0
    double = draw_instances(
        GaussianMixture(num_features=3, num_points=64, num_test=8),
        LEARNER,
        Seeds("demo", 2),
        3,
        20,
        torch.float64,
    )
    assert all(map(torch.equal, *(leaves(loop.unroll(double)) for loop in (plain, ours))))
    assert not calls


def test_a_theta_of_another_network_is_refused_as_in_the_loop(calls):
    instances, state, _, ours = problem(learned())
    with pytest.raises(ValueError, match=r"theta has 7 weights and this meta-optimizer has"):
        ours.unroll(instances, with_theta(state, state.rate.theta[:, :7]))
    assert not calls


def test_points_that_lie_otherwise_in_memory_are_read_all_the_same():
    instances, state, plain, ours = problem(learned())
    turned = instances._replace(table=instances.table.T.contiguous().T)
    for one, other in zip(*(leaves(each.unroll(turned, state)) for each in (ours, plain)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "kind", "held"),
    [
        ({}, FusedLoop, True),
        ({"direction": "adam"}, FusedLoop, True),
        ({"direction": "adam", "learned_direction": "update"}, FusedLoop, True),
        (
            {"direction": "adam", "learned_direction": "update", "controller": "constant"},
            FusedLoop,
            True,
        ),
        ({"learned_direction": "layer_rates"}, FusedLoop, True),
        ({"vary_setup": True, "families": ("home", "scale")}, FusedLoop, True),
        ({"learned_direction": "momentum"}, CompiledLoop, False),
        ({"inputs": tuple(INPUTS)}, CompiledLoop, False),
        ({"controller": "schedule"}, CompiledLoop, False),
        ({"controller": "schedule", "vary_setup": True}, FusedLoop, False),
        ({"compile_step": False}, InnerLoop, False),
    ],
)
def test_meta_training_takes_the_fastest_loop_that_there_is(settings, kind, held):
    config = MetaTrainConfig(**{"compile_step": True, "num_tasks": 2} | settings)
    loop = Problems(config).problem(0, Problems(config).set_up(0, 0, config.generator(0, 1))).loop
    assert type(loop) is kind
    assert getattr(loop, "holds", False) == held


def test_no_steps_are_refused_as_in_the_loop():
    instances, _, _, ours = problem(learned())
    with pytest.raises(ValueError, match="holds no step"):
        ours.unroll(instances, None, 3, 3)


def test_without_a_compiler_it_is_the_loop(monkeypatch):
    instances, state, plain, ours = problem(learned())
    monkeypatch.setattr(fused_loop, "UNROLL", SimpleNamespace(function=None))
    assert all(map(torch.equal, *(leaves(loop.unroll(instances, state)) for loop in (plain, ours))))


def wrong(change, part="of_rate"):
    return lambda rule: change(getattr(rule, part))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rule: setattr(rule, "direction", 6), "there is no such direction"),
        (lambda rule: setattr(rule, "direction", -1), "there is no such direction"),
        (lambda rule: setattr(rule, "direction", 1), "the state has another number of parts than the rule"),
        (lambda rule: setattr(rule, "num_layers", 2), "the layers do not make up the weights"),
        (lambda rule: setattr(rule, "layers", integers((10**6, -(10**6), 82))), "the layers do not make up"),
        (wrong(lambda network: setattr(network, "hidden", 0)), "has no units or sees nothing"),
        (wrong(lambda network: setattr(network, "hidden", 17)), "another number of weights than its layers"),
        (wrong(lambda network: setattr(network, "num_memories", 5)), "another number of weights"),
        (wrong(lambda network: network.inputs.__setitem__(1, 8)), "is not told of such an input"),
        (wrong(lambda network: network.inputs.__setitem__(1, -1)), "is not told of such an input"),
        (wrong(lambda network: network.inputs.__setitem__(0, 8), "of_layer"), "is not told of such an input"),
        (wrong(lambda network: setattr(network, "num_theta", 5), "of_layer"), "another number of weights"),
    ],
)
def test_a_rule_that_would_read_past_an_end_is_refused_and_nothing_is_changed(change, message, monkeypatch):
    by_layer = LayerRates(torch.zeros(LayerRates.network().num_theta), LAYERS)
    instances, state, _, ours = problem(learned(), by_layer)
    made = fused_loop.made_rule

    def changed(*arguments):
        fused_loop._network.cache_clear()
        change(rule := made(*arguments))
        fused_loop._network.cache_clear()
        return rule

    monkeypatch.setattr(fused_loop, "made_rule", changed)
    kept = [leaf.clone() for leaf in leaves(state)]
    with pytest.raises(ValueError, match=rf"unroll in C\+\+ refuses its arguments: .*{message}"):
        ours.unroll(instances, state)
    assert all(map(torch.equal, leaves(state), kept))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda update: setattr(update, "hidden", 0), "an update has another number of weights"),
        (lambda update: setattr(update, "hidden", 9), "an update has another number of weights"),
        (lambda update: setattr(update, "num_theta", 77), "an update has another number of weights"),
        (lambda update: setattr(update, "num_tensors", 5), "the tensors do not make up the weights"),
        (lambda update: setattr(update, "num_tensors", 0), "the tensors do not make up the weights"),
        (lambda update: update.sizes.__setitem__(1, 0), "the tensors do not make up the weights"),
        (lambda update: update.sizes.__setitem__(0, 10**6), "the tensors do not make up the weights"),
    ],
)
def test_an_update_that_would_read_past_an_end_is_refused(change, message, monkeypatch):
    instances, state, _, ours = problem(Constant(0.1), update())
    made = fused_loop.made_rule

    def changed(*arguments):
        change((rule := made(*arguments)).update)
        return rule

    monkeypatch.setattr(fused_loop, "made_rule", changed)
    with pytest.raises(ValueError, match=rf"refuses its arguments: .*{message}"):
        ours.unroll(instances, state)


def test_a_state_of_other_sizes_or_parts_is_refused(monkeypatch):
    instances, state, _, ours = problem(learned(), Momentum())
    short = state._replace(monitor=state.monitor._replace(fast=state.monitor.fast[:, :1]))
    with pytest.raises(ValueError, match="a part of the state has another size than the rule"):
        ours.unroll(instances, short)
    with pytest.raises(ValueError, match="a part of the state has another size than the rule"):
        ours.unroll(instances, state._replace(direction=state.direction[:-1]))
    with pytest.raises(ValueError, match="the state has another number of parts than the rule"):
        ours.unroll(instances, state._replace(direction=(state.direction, state.direction)))
    with pytest.raises(ValueError, match="each task has as many runs"):
        ours.unroll(instances.take(slice(0, 3)), state)
    monkeypatch.setattr(fused_loop, "Info", lambda *infos: infos[:3])
    monkeypatch.setattr(fused_loop.Info, "_fields", "abcd", raising=False)
    with pytest.raises(ValueError, match="what the steps tell is not four numbers"):
        ours.unroll(instances, state)


@pytest.mark.parametrize("row", [-1, 5 * 64])
def test_a_point_that_the_table_has_not_is_refused(row):
    instances, state, _, ours = problem(learned())
    order = instances.order.clone()
    order[-1, -1, -1] = row
    with pytest.raises(ValueError, match="the order names a row that the table has not"):
        ours.unroll(instances._replace(order=order), state)


def test_a_rule_of_another_layout_is_refused(monkeypatch):
    instances, state, _, ours = problem(learned())

    class Longer(fused_loop.Rule):
        _fields_ = (("more", fused_loop.ctypes.c_int64),)

    monkeypatch.setattr(fused_loop, "Rule", Longer)
    with pytest.raises(ValueError, match="a rule is laid out otherwise"):
        ours.unroll(instances, state)
