"""Directions, rates and packages against torch.optim, the packages themselves, and closed forms."""

import math
from functools import partial

import dadaptation
import dog
import prodigyopt
import pytest
import pytorch_optimizer
import schedulefree
import torch
from torch import nn

from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.adamg import AdamG
from metalearn_lib.directions.adamw import AdamW, AdamWDecay
from metalearn_lib.directions.adan import Adan
from metalearn_lib.directions.clipped import Clipped
from metalearn_lib.directions.dadapt import DAdaptAdam
from metalearn_lib.directions.dog import DoG
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.lion import Lion
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.directions.muon import OrthogonalMomentum
from metalearn_lib.directions.nesterov import Nesterov
from metalearn_lib.directions.normalised import Normalised
from metalearn_lib.directions.packaged import Packaged
from metalearn_lib.directions.prodigy import Prodigy
from metalearn_lib.directions.rmsprop import RMSProp
from metalearn_lib.directions.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from metalearn_lib.directions.soap import SOAP
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.learners import MLP, Batch
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.cosine import Cosine
from metalearn_lib.rates.hypergradient import Hypergradient
from metalearn_lib.rates.learned_schedule import LearnedSchedule
from metalearn_lib.rates.polyak import Polyak
from metalearn_lib.rates.schedule import Schedule
from metalearn_lib.rates.step_decay import StepDecay
from metalearn_lib.trees import leaves, take

TASKS, STEPS = 3, 12
LEARNER = MLP((2, 8, 3))


def problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    params = torch.stack([LEARNER.init(generator) for _ in range(TASKS)]).to(dtype)
    x = torch.randn(STEPS, TASKS, 16, 2, generator=generator, dtype=dtype)
    y = torch.randint(3, (STEPS, TASKS, 16), generator=generator)
    return params, [Batch(*pair) for pair in zip(x, nn.functional.one_hot(y, 3).to(dtype), strict=True)]


def ours(direction, rate, dtype=torch.float64, judged=False):
    """Weights after every step, `(steps, tasks, weights)`."""
    params, batches = problem(dtype)
    loop = InnerLoop(LEARNER, rate, direction.of(LEARNER))
    state, path = loop.init(params), []
    for batch in batches:
        state, _ = loop.step(state, batch)
        path.append(loop.direction.judged(state.direction, state.params) if judged else state.params)
    return torch.stack(path)


def theirs_by_tensor(make, dtype=torch.float64):
    """The same with an optimizer that is given matrices and biases, as a module has them."""
    params, batches = problem(dtype)
    shapes = [(8, 2), (8,), (3, 8), (3,)]
    sizes = [math.prod(shape) for shape in shapes]
    paths = []
    for task in range(TASKS):
        pieces = params[task].split(sizes)
        own = [nn.Parameter(piece.clone().view(shape)) for piece, shape in zip(pieces, shapes, strict=True)]
        optimizers, path = make(own), []
        for batch in batches:
            flat = torch.cat([each.detach().flatten() for each in own])
            one = Batch(batch.x[task : task + 1], batch.target[task : task + 1])
            grad = LEARNER.loss_and_grad(flat[None], one)[1][0]
            for each, slope in zip(own, grad.split(sizes), strict=True):
                each.grad = slope.view(each.shape).clone()
            for optimizer in optimizers:
                optimizer.step()
            path.append(torch.cat([each.detach().flatten() for each in own]))
        paths.append(torch.stack(path))
    return torch.stack(paths, 1)


def theirs(make, schedule=None, before_step=lambda weights: None, dtype=torch.float64, watch=None):
    """The same with an optimizer of torch's kind, one task at a time."""
    params, batches = problem(dtype)
    paths = []
    for task in range(TASKS):
        weights = nn.Parameter(params[task].clone())
        optimizer = make([weights])
        scheduler = schedule(optimizer) if schedule else None
        path = []
        for batch in batches:
            one = Batch(batch.x[task : task + 1], batch.target[task : task + 1])
            weights.grad = LEARNER.loss_and_grad(weights.detach()[None], one)[1][0]
            before_step(weights)
            optimizer.step()
            if scheduler:
                scheduler.step()
            path.append(watch(optimizer, weights) if watch else weights.detach().clone())
        paths.append(torch.stack(path))
    return torch.stack(paths, 1)


SGD = partial(torch.optim.SGD, lr=0.1)
CASES = {
    "nesterov": (Nesterov(), Constant(0.1), {"make": partial(SGD, momentum=0.9, nesterov=True)}),
    "adamw": (
        AdamW(decay=0.1),
        Constant(0.1),
        {"make": partial(torch.optim.AdamW, lr=0.1, weight_decay=0.1)},
    ),
    "rmsprop": (RMSProp(), Constant(0.1), {"make": partial(torch.optim.RMSprop, lr=0.1)}),
    "clipped": (
        Clipped(0.3),
        Constant(0.1),
        {"make": SGD, "before_step": lambda weights: nn.utils.clip_grad_norm_([weights], 0.3)},
    ),
    "cosine": (
        Gradient(),
        Cosine(0.1, STEPS),
        {"make": SGD, "schedule": partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=STEPS)},
    ),
    "step decay": (
        Gradient(),
        StepDecay(0.1, 3, 0.5),
        {"make": SGD, "schedule": partial(torch.optim.lr_scheduler.StepLR, step_size=3, gamma=0.5)},
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
def test_a_rival_is_torchs_own(name):
    direction, rate, reference = CASES[name]
    torch.testing.assert_close(ours(direction, rate), theirs(**reference), rtol=1e-9, atol=1e-12)


def test_the_normalised_gradient_takes_steps_of_one_length_and_rests_at_zero():
    grad = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    direction, _ = Normalised()((), grad, grad)
    torch.testing.assert_close(direction, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_a_clip_that_nothing_exceeds_is_the_gradient():
    torch.testing.assert_close(ours(Clipped(1e6), Constant(0.1)), ours(Gradient(), Constant(0.1)))


def test_polyaks_step_solves_a_quadratic_in_one_step():
    # L = h w^2 / 2 with L* = 0: L / (c |g|^2) = 1 / (2 c h), which at c = 1/2 is Newton's step
    h, w = torch.tensor([1.0, 10.0]), torch.tensor([3.0, -2.0])
    observation = watched(h * w**2 / 2, (h * w)[:, None], w[:, None])
    lr, _ = Polyak(max_lr=100.0, c=0.5)(torch.full((2,), 100.0), observation)
    torch.testing.assert_close(lr, 1 / h)
    bounded, _ = Polyak(max_lr=0.5)(torch.full((2,), 0.5), observation)
    torch.testing.assert_close(bounded, torch.tensor([0.5, 0.1]))


def watched(loss, grad, params):
    from metalearn_lib.monitor import Monitor

    monitor = Monitor()
    return monitor(monitor.init(params), loss, grad, params)[0]


def test_the_hypergradient_is_the_derivative_of_the_next_loss_by_the_last_rate():
    params, batches = problem()
    lr = torch.full((TASKS,), 0.1, dtype=torch.float64, requires_grad=True)
    loss, grad = LEARNER.loss_and_grad(params, batches[0])
    moved = params - lr[:, None] * grad
    (slope,) = torch.autograd.grad(LEARNER.loss(moved, batches[1]).sum(), lr)
    rate = Hypergradient(0.1, beta=1.0)
    _, state = rate(rate.init(params), watched(loss, grad, params))
    loss, grad = LEARNER.loss_and_grad(moved.detach(), batches[1])
    after, _ = rate(state, watched(loss, grad, moved.detach()))
    torch.testing.assert_close(after - 0.1, -slope)


def test_a_schedule_reads_its_table_and_stays_at_its_end():
    lrs = torch.tensor([[0.3, 0.2, 0.1], [1.0, 2.0, 3.0], [0.0, 0.0, 0.5]])
    rate, state, seen = Schedule(lrs), Schedule(lrs).init(torch.zeros(3, 4)), []
    for _ in range(5):
        lr, state = rate(state, None)
        seen.append(lr)
    torch.testing.assert_close(torch.stack(seen, 1), lrs[:, [0, 1, 2, 2, 2]])


@pytest.mark.parametrize(
    "rate",
    [Cosine(0.1, 10**9), StepDecay(0.1, 3, 1.0), Hypergradient(0.1, 0.0), Schedule(torch.tensor([0.1]))],
)
def test_in_its_limit_every_rate_is_the_constant_one(rate):
    torch.testing.assert_close(ours(Gradient(), rate), ours(Gradient(), Constant(0.1)))


PACKAGES = {
    "prodigy": (Prodigy(), lambda p: prodigyopt.Prodigy(p, lr=1.0)),
    "dadapt": (DAdaptAdam(), lambda p: dadaptation.DAdaptAdam(p, lr=1.0)),
    "dog": (DoG(), lambda p: dog.DoG(p)),
    "schedule-free sgd": (
        ScheduleFreeSGD(0.5),
        lambda p: free(schedulefree.SGDScheduleFree(p, lr=0.5)),
    ),
    "schedule-free adamw": (
        ScheduleFreeAdamW(0.1),
        lambda p: free(schedulefree.AdamWScheduleFree(p, lr=0.1)),
    ),
    "adamg": (AdamG(), lambda p: pytorch_optimizer.AdamG(p)),
    "lion": (Lion(0.01), lambda p: pytorch_optimizer.Lion(p, lr=0.01)),
    "adan": (Adan(0.1), lambda p: pytorch_optimizer.Adan(p, lr=0.1)),
}
BY_TENSOR = {
    "muon": (
        OrthogonalMomentum(0.1),
        lambda p: (
            torch.optim.Muon(p[::2], lr=0.1, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.Adam(p[1::2], lr=0.1),
        ),
    ),
    "soap": (SOAP(0.1), lambda p: (pytorch_optimizer.SOAP(p, lr=0.1, weight_decay=0.0),)),
}


def free(optimizer):
    optimizer.train()
    return optimizer


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", PACKAGES)
def test_a_packaged_direction_takes_the_packages_own_steps(name, dtype):
    direction, make = PACKAGES[name]
    tolerance = {"rtol": 1e-9, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-3, "atol": 1e-5}
    mine, reference = (ours(direction, Constant(1.0), dtype), theirs(make, dtype=dtype))
    torch.testing.assert_close(mine, reference, **tolerance)
    assert (mine[-1] != mine[0]).any()


@pytest.mark.parametrize("name", BY_TENSOR)
def test_a_direction_by_tensor_takes_the_steps_of_its_optimizer_on_matrices_and_biases(name):
    direction, make = BY_TENSOR[name]
    torch.testing.assert_close(ours(direction, Constant(1.0)), theirs_by_tensor(make), rtol=1e-5, atol=1e-7)


def test_adamw_whose_decay_is_tuned_is_adamw():
    torch.testing.assert_close(
        ours(AdamWDecay(decay=0.3), Constant(0.1)), ours(AdamW(decay=0.3), Constant(0.1)), rtol=0, atol=0
    )


def test_schedule_free_is_judged_at_the_weights_that_its_eval_gives():
    def look(optimizer, weights):
        optimizer.eval()
        seen = weights.detach().clone()
        optimizer.train()
        return seen

    for name in ("schedule-free sgd", "schedule-free adamw"):
        direction, make = PACKAGES[name]
        seen = ours(direction, Constant(1.0), judged=True)
        torch.testing.assert_close(seen, theirs(make, watch=look), rtol=1e-9, atol=1e-11)


def test_dog_is_judged_at_the_packages_polynomial_average():
    def look(optimizer, weights):
        if not hasattr(optimizer, "averager"):
            optimizer.averager = dog.PolynomialDecayAverager(nn.ParameterList([weights]))
        optimizer.averager.step()
        return next(iter(optimizer.averager.averaged_model.parameters())).detach().clone()

    mine = ours(DoG(), Constant(1.0), judged=True)
    torch.testing.assert_close(mine, theirs(lambda p: dog.DoG(p), watch=look), rtol=1e-6, atol=1e-9)


def test_a_package_that_is_missing_is_named_with_its_remedy():
    class Nothing(Packaged):
        package = "nowhere"

        def make(self, params):
            return self.imported("Nothing")(params, lr=self.lr)

    with pytest.raises(ValueError, match="pip install nowhere"):
        Nothing().init(torch.zeros(1, 2))


DIRECTIONS = [Gradient(), Momentum(), Nesterov(), Adam(), AdamW(), RMSProp(), Clipped(), Normalised()]
RATES = [
    Constant(0.1),
    Cosine(0.1, 8),
    StepDecay(0.1, 4),
    Polyak(0.1),
    Hypergradient(0.1, 1e-3),
    Schedule(torch.linspace(0.1, 0.01, 6)),
    Schedule(torch.linspace(0.1, 0.01, 6).repeat(TASKS, 1)),
]
PAIRS = [(direction, Constant(0.1)) for direction in DIRECTIONS] + [(Gradient(), rate) for rate in RATES]
PAIRS += [(direction, Constant(1.0)) for direction, _ in (*PACKAGES.values(), *BY_TENSOR.values())]


@pytest.mark.parametrize(("direction", "rate"), PAIRS, ids=lambda each: type(each).__name__)
def test_every_rule_keeps_its_tasks_apart_and_goes_on_when_some_are_dropped(direction, rate):
    params, batches = problem()
    loop = InnerLoop(LEARNER, rate, direction.of(LEARNER))
    everyone = loop.init(params)
    assert all(len(leaf) == TASKS for leaf in leaves(everyone))
    for batch in batches[:5]:
        everyone, info = loop.step(everyone, batch)
    left = torch.tensor([2, 0])
    some = take(loop.init(params), left) if not isinstance(direction, Packaged) else None
    kept = take(everyone, left)
    for batch in batches[5:]:
        kept, info = loop.step(kept, Batch(batch.x[left], batch.target[left]))
    assert info.loss.isfinite().all()
    assert info.lr.isfinite().all()
    if some is not None:
        for batch in batches:
            some, _ = loop.step(some, Batch(batch.x[left], batch.target[left]))
        torch.testing.assert_close(some.params, kept.params, rtol=1e-9, atol=1e-12)
    else:
        torch.testing.assert_close(kept.params, ours(direction, rate)[-1][left], rtol=1e-9, atol=1e-12)


def test_a_cosine_ends_at_zero_and_stays_there():
    rate = Cosine(1.0, 4)
    state, seen = rate.init(torch.zeros(1, 2)), []
    for _ in range(6):
        lr, state = rate(state, None)
        seen.append(lr.item())
    expected = [(1 + math.cos(math.pi * min(t / 4, 1))) / 2 for t in range(6)]
    assert seen == pytest.approx(expected, abs=1e-7)


def test_an_untrained_schedule_is_the_constant_rate_and_a_trained_one_its_formula():
    torch.testing.assert_close(
        ours(Gradient(), LearnedSchedule(0.1, torch.zeros(3))),
        ours(Gradient(), Constant(0.1)),
        rtol=0,
        atol=0,
    )
    rate, seen = LearnedSchedule(0.5, torch.tensor([0.3, math.log(4), 0.7])), []
    state = rate.init(torch.zeros(1, 2))
    for _ in range(6):
        lr, state = rate(state, None)
        seen.append(lr.item())
    expected = [0.5 * math.exp(0.3) * min(1, (t + 1) / 4) * (1 + t / 32) ** -0.7 for t in range(6)]
    assert seen == pytest.approx(expected, rel=1e-5)
