import shutil
import subprocess

import pytest
import torch

from metalearn_lib import fused, fused_loop
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.adamw import AdamW
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.layer_rates import LayerRates
from metalearn_lib.directions.learned_momentum import LearnedMomentum
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.directions.nesterov import Nesterov
from metalearn_lib.fused.learner import fuse
from metalearn_lib.fused.loop import FusedLoop
from metalearn_lib.gradient_estimators import theta_of, with_theta
from metalearn_lib.inner_loop import CompiledLoop, InnerLoop, draw_instances
from metalearn_lib.learners import MLP, layer_sizes
from metalearn_lib.meta_optimizer import ALL_INPUTS, INPUTS, MetaOptimizer
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.monitor import Monitor
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.trees import leaves, twice
from metalearn_lib.types import Seeds

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on the path")
LEARNER = MLP((3, 7, 5, 4))
LAYERS = layer_sizes(LEARNER)


@pytest.fixture(scope="module", autouse=True)
def a_cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for each in (fused, fused_loop):
            each._library.cache_clear()
        yield
    for each in (fused, fused_loop):
        each._library.cache_clear()


@pytest.fixture
def calls(monkeypatch):
    """How often the C++ function has run."""
    compiled, made = fused_loop._library(), []

    class Counting:
        def unroll(self, *arguments):
            made.append(arguments)
            compiled.unroll(*arguments)

    monkeypatch.setattr(fused_loop, "_library", Counting)
    return made


def problem(rate, direction=Gradient(), monitor=Monitor(), num_tasks=5, arms=2):
    """Instances, the state of `arms` runs on each under thetas of their own, and both loops."""
    family = GaussianMixture(num_features=3, num_points=64, num_test=8)
    instances = draw_instances(family, LEARNER, Seeds("demo", num_tasks), 8, 20)
    plain, ours = (kind(fuse(LEARNER), rate, direction, monitor) for kind in (InnerLoop, FusedLoop))
    state = plain.init(instances.params)
    state = twice(state) if arms == 2 else state
    if isinstance(rate, LearnedRate):
        shape = (arms * num_tasks, theta_of(state).shape[1])
        theta = 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        state = with_theta(state, theta)
        base_lr = torch.logspace(-2, 2, arms * num_tasks) * state.rate.base_lr
        state = state._replace(rate=state.rate._replace(base_lr=base_lr))
    return instances, state, plain, ours


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
        (learned(hidden=3, bound=0.5, inputs=INPUTS[::-3]), Gradient(), Monitor(0.3, 0.6)),
        (learned(inputs=("log_lr",)), Gradient(), Monitor()),
    ],
    ids=["gradient", "momentum", "adam", "rates of layers", "other settings", "blind"],
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
        (Constant(0.1), Gradient()),
        (learned(inputs=ALL_INPUTS), Gradient()),
        (learned(), Nesterov()),
        (learned(), AdamW()),
        (learned(), LearnedMomentum(torch.zeros(LearnedMomentum.network().num_theta), LAYERS)),
    ],
    ids=["a constant rate", "alignment", "nesterov", "adamw", "a learned momentum"],
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
        ({"learned_direction": "layer_rates"}, FusedLoop, True),
        ({"vary_setup": True, "families": ("home", "scale")}, FusedLoop, True),
        ({"learned_direction": "momentum"}, CompiledLoop, False),
        ({"inputs": ALL_INPUTS}, CompiledLoop, False),
        ({"controller": "schedule"}, CompiledLoop, False),
        ({"controller": "schedule", "vary_setup": True}, FusedLoop, False),
        ({"compile_step": False}, InnerLoop, False),
    ],
)
def test_meta_training_takes_the_fastest_loop_that_there_is(settings, kind, held):
    config = MetaTrainConfig(**{"compile_step": True, "num_tasks": 2} | settings)
    loop = config.problem(0, config.set_up(0, 0, config.generator(0, 1))).loop
    assert type(loop) is kind
    assert getattr(loop, "holds", False) == held


def test_no_steps_are_refused_as_in_the_loop():
    instances, _, _, ours = problem(learned())
    with pytest.raises(ValueError, match="holds no step"):
        ours.unroll(instances, None, 3, 3)


def test_without_a_compiler_it_is_the_loop(monkeypatch):
    instances, state, plain, ours = problem(learned())
    monkeypatch.setattr(fused_loop, "_library", lambda: None)
    assert all(map(torch.equal, *(leaves(loop.unroll(instances, state)) for loop in (plain, ours))))


def test_a_compiler_that_fails_is_said_and_the_loop_goes_on(monkeypatch):
    def fail(*arguments, **settings):
        raise subprocess.CalledProcessError(1, "g++")

    fused._library()
    monkeypatch.setattr(
        fused_loop, "fingerprint", lambda *values: "another"
    )  # a name of its own in the cache
    monkeypatch.setattr(fused_loop.subprocess, "run", fail)
    with pytest.warns(UserWarning, match=r"fused-loop-.*\.so cannot be used, and plain PyTorch is"):
        assert fused_loop._library.__wrapped__() is None
