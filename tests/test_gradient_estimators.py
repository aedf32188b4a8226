"""The four estimators against finite differences, each other, and a problem with a known gradient."""

import pytest
import torch

from metalearn_lib.gradient_estimators import (
    AntitheticES,
    Backpropagation,
    PersistentES,
    Problem,
    Reinforce,
    meta_loss,
    rewards,
    unroll,
    with_theta,
)
from metalearn_lib.inner_loop import InnerLoop, Instances, draw_instances
from metalearn_lib.learners import Batch, Learner
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.trees import leaves, take
from metalearn_lib.types import Info, Seeds

META = MetaOptimizer(hidden=2)


def info_of(loss: torch.Tensor) -> Info:
    return Info(loss, loss, loss, loss)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def theta_at_random(scale: float = 0.02) -> torch.Tensor:
    return scale * torch.randn(META.num_theta, generator=generator(), dtype=torch.float64)


def repeating(loop: InnerLoop, instances: Instances, num_tasks: int) -> Problem:
    """A problem whose every draw is `instances` over and over, so that its meta-loss is one function."""

    def draw(first: int, count: int):
        tasks = torch.arange(first, first + count) % len(instances.params)
        each = instances.take(tasks)
        rows = instances.table.view(len(instances.params), -1, instances.table.shape[1])
        # a table of each task's own rows, as a fresh draw has
        moved = (torch.arange(count) - tasks) * rows.shape[1]
        each = each._replace(table=rows[tasks].flatten(0, 1), order=each.order + moved[:, None, None])
        return each, loop.init(each.params)

    return Problem(loop, num_tasks, draw)


@pytest.fixture
def problem(instances, learner):
    def make(num_tasks, num_steps=8, base_lr=0.3):
        loop = InnerLoop(learner, LearnedRate(base_lr, torch.zeros(META.num_theta), META))
        return repeating(loop, instances._replace(order=instances.order[:, :num_steps]), num_tasks)

    return make


def exact_gradient(problem: Problem, theta: torch.Tensor, num_tasks: int = 6) -> torch.Tensor:
    instances, start = problem.draw(0, num_tasks)
    theta = theta.clone().requires_grad_()
    _, info = problem.loop.unroll(instances, with_theta(start, theta.expand(num_tasks, -1)))
    return torch.autograd.grad(meta_loss(info).mean(), theta)[0]


def task_gradient(problem: Problem, theta: torch.Tensor, task: int) -> torch.Tensor:
    return exact_gradient(repeating(problem.loop, problem.draw(task, 1)[0], 1), theta, 1)


def assert_near(estimate: torch.Tensor, exact: torch.Tensor, num_pairs: int, noise: float = 2.0):
    """Within `noise` standard errors of a one-sided evolution estimate, about |g| sqrt(theta / pairs)."""
    assert torch.cosine_similarity(estimate, exact, 0) > 0.95
    assert (estimate - exact).norm() < noise * exact.norm() * (len(exact) / num_pairs) ** 0.5


# the meta-loss


def test_the_return_is_the_mean_log_loss_relative_to_the_start():
    loss = torch.rand(5, 12, dtype=torch.float64) + 0.1
    closed_form = (loss.log() - loss[:, :1].log()).mean(1)
    torch.testing.assert_close(meta_loss(info_of(loss)), closed_form)


def test_the_return_rewards_speed_where_the_plain_sum_of_rewards_does_not():
    early = torch.tensor([[4.0, 1.0, 1.0, 1.0]])
    late = torch.tensor([[4.0, 4.0, 4.0, 1.0]])
    assert rewards(info_of(early)).sum() == rewards(info_of(late)).sum()
    assert meta_loss(info_of(early)) < meta_loss(info_of(late))


def test_a_diverged_run_counts_at_the_bound():
    loss = torch.tensor([[1.0, torch.inf, torch.nan, torch.nan]])
    assert meta_loss(info_of(loss)).item() == pytest.approx(3 * 3 / 4)


# backpropagation


def test_backpropagation_over_the_whole_unroll_agrees_with_finite_differences(problem):
    problem, theta = problem(6), theta_at_random()
    estimate, _ = Backpropagation()(torch.tensor(0), theta, problem, generator())
    along = torch.randn(len(theta), generator=generator(1), dtype=torch.float64)
    instances, start = problem.draw(0, 6)

    def mean_loss(theta):
        return meta_loss(problem.loop.unroll(instances, with_theta(start, theta.expand(6, -1)))[1]).mean()

    # so small that no rectifier switches: where one does, the trajectory jumps, which no derivative sees
    step = 1e-8
    difference = (mean_loss(theta + step * along) - mean_loss(theta - step * along)) / (2 * step)
    assert estimate.gradient @ along == pytest.approx(difference.item(), rel=1e-4)
    assert estimate.meta_loss.item() == pytest.approx(mean_loss(theta).item(), rel=1e-12)


def test_the_hand_written_gradient_can_be_differentiated_again(learner, instances):
    """Second derivatives of the MLP's own backward pass equal autograd's of its loss."""
    params, batch = instances.params.clone().requires_grad_(), instances.batch(0)
    along = torch.randn(params.shape, generator=generator(2), dtype=torch.float64)
    (first,) = torch.autograd.grad(learner.loss(params, batch).sum(), params, create_graph=True)
    (expected,) = torch.autograd.grad((first * along).sum(), params)
    (product,) = torch.autograd.grad((learner.loss_and_grad(params, batch)[1] * along).sum(), params)
    torch.testing.assert_close(product, expected, rtol=1e-11, atol=1e-14)


def test_truncated_backpropagation_forgets_what_comes_after_the_truncation(problem):
    problem, theta = problem(6), theta_at_random()
    whole, _ = Backpropagation()(torch.tensor(0), theta, problem, generator())
    pieces, _ = Backpropagation(4)(torch.tensor(0), theta, problem, generator())
    assert whole.meta_loss.item() == pytest.approx(pieces.meta_loss.item(), rel=1e-12)
    assert (pieces.gradient - whole.gradient).norm() > 0.2 * whole.gradient.norm()
    with pytest.raises(ValueError, match=r"truncation_length=1 .* use 2 or more"):
        Backpropagation(1)


def test_backpropagation_explodes_where_training_is_chaotic_and_its_task_norms_show_it(problem):
    theta = theta_at_random()
    calm, wild = (
        Backpropagation()(torch.tensor(0), theta, problem(6, 20, base_lr), generator())[0]
        for base_lr in (0.1, 10.0)
    )
    assert calm.task_norms.max() < 10 * calm.task_norms.median()
    assert wild.task_norms.max() > 100 * calm.task_norms.max()


def test_a_task_whose_gradient_is_no_number_is_left_out_and_counted(problem):
    problem, theta = problem(6), theta_at_random()
    whole, _ = Backpropagation()(torch.tensor(0), theta, problem, generator())

    def draw(first, count):
        instances, state = problem.draw(first, count)
        base_lr = state.rate.base_lr.index_fill(0, torch.tensor([2]), torch.inf)
        return instances, state._replace(rate=state.rate._replace(base_lr=base_lr))

    broken, _ = Backpropagation()(torch.tensor(0), theta, problem._replace(draw=draw), generator())
    assert broken.num_nonfinite == 1
    assert broken.task_norms[2] == 0
    kept = torch.tensor([0, 1, 3, 4, 5])
    torch.testing.assert_close(broken.task_norms[kept], whole.task_norms[kept], rtol=1e-9, atol=0)
    rest = torch.stack([task_gradient(problem, theta, task) for task in kept.tolist()]).mean(0)
    torch.testing.assert_close(broken.gradient, rest, rtol=1e-9, atol=1e-12)


# evolution strategies


def test_antithetic_evolution_agrees_with_backpropagation(problem):
    """Perturbations so small that no rectifier switches: there smoothing changes nothing."""
    problem, theta = problem(2400), theta_at_random()
    estimate, _ = AntitheticES(1e-7)(torch.tensor(0), theta, problem, generator())
    of_tasks = torch.stack([task_gradient(problem, theta, task) for task in range(6)])
    exact = of_tasks.mean(0)
    torch.testing.assert_close(exact, exact_gradient(problem, theta), rtol=1e-9, atol=1e-12)
    assert torch.cosine_similarity(estimate.gradient, exact, 0) > 0.95
    # the estimator's own noise, exactly: a pair scatters by |g_i| sqrt(theta + 1) about its task's gradient
    noise = (of_tasks.square().sum(1).mean() * (len(theta) + 1) / 2400).sqrt()
    assert 0.7 < (estimate.gradient - exact).norm() / noise < 1.3
    assert estimate.num_gradients == 2 * 2400 * 8
    assert estimate.num_nonfinite == 0


def test_persistent_evolution_over_the_whole_horizon_is_antithetic_evolution(problem):
    problem, theta = problem(12), theta_at_random()
    whole, _ = AntitheticES(0.1)(torch.tensor(0), theta, problem, generator())
    estimator = PersistentES(None, 0.1)
    one, _ = estimator(estimator.init(problem, theta), theta, problem, generator())
    torch.testing.assert_close(one.gradient, whole.gradient, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one.meta_loss, whole.meta_loss)


def test_persistent_evolution_over_the_whole_horizon_agrees_with_backpropagation(problem):
    problem, theta = problem(2400), theta_at_random()
    estimator = PersistentES(None, 1e-7)
    estimate, _ = estimator(estimator.init(problem, theta), theta, problem, generator())
    assert_near(estimate.gradient, exact_gradient(problem, theta), 2400)


def mean_after_start(estimator, problem, theta, rounds):
    """Mean estimate at a theta that stands still, once the shorter first runs are over."""
    state, total = estimator.init(problem, theta), torch.zeros_like(theta)
    draws = generator(4)
    for number in range(4 + rounds):
        estimate, state = estimator(state, theta, problem, draws)
        if number >= 4:
            total += estimate.gradient / rounds
    return total


def test_persistent_evolution_over_many_truncations_is_unbiased_where_truncated_evolution_is_not(problem):
    problem, theta = problem(1200), theta_at_random()
    exact = exact_gradient(problem, theta)
    persistent = mean_after_start(PersistentES(2, 1e-4), problem, theta, 16)
    truncated = mean_after_start(PersistentES(2, 1e-4, accumulate=False), problem, theta, 16)
    assert torch.cosine_similarity(persistent, exact, 0) > 0.93
    assert persistent @ exact / (exact @ exact) == pytest.approx(1, abs=0.15)
    assert truncated @ exact / (exact @ exact) < 0.6


def test_only_the_tasks_that_ended_are_replaced_and_the_ends_are_staggered(problem):
    problem, theta = problem(6), theta_at_random()
    estimator = PersistentES(2, 0.1)
    state = estimator.init(problem, theta)
    assert state.position.tolist() == [0, 2, 4, 6, 0, 2]
    _, after = estimator(state, theta, problem, generator())
    assert after.position.tolist() == [2, 4, 6, 0, 2, 4]
    assert after.next_task == 7
    assert (after.accumulated.norm(dim=1) == 0).tolist() == [False, False, False, True, False, False]
    assert after.first.isnan().tolist() == [False, False, False, True, False, False] * 2
    fresh, _ = problem.draw(6, 1)
    for arm in (3, 9):
        assert torch.equal(after.inner.params[arm], fresh.params[0])
    batch, alone = after.instances.batch(5, torch.tensor([3])), fresh.batch(5)
    assert torch.equal(batch.x, alone.x)


def test_a_task_in_a_stack_of_ends_runs_as_it_would_alone(problem):
    """Staggering and replacing change where a run is kept, not what becomes of it."""
    problem, theta = problem(6), torch.zeros(META.num_theta, dtype=torch.float64)
    estimator = PersistentES(2, 1e-12)
    state = estimator.init(problem, theta)
    for _ in range(4):
        _, state = estimator(state, theta, problem, generator())
    # task 1 began at 2, ended after three calls, and its successor has made 2 steps
    number = 6 + 1 + 1 + 1  # ends: task 3, then task 2, then tasks 1 and 5
    instances, start = problem.draw(number - 1, 1)
    alone, _ = problem.loop.unroll(instances, with_theta(start, theta[None]), stop=2)
    torch.testing.assert_close(state.inner.params[1], alone.params[0], rtol=1e-9, atol=1e-12)


# a problem with a known gradient


class Quadratic(Learner):
    """Loss `exp(w)` of one weight, whose direction is set to 1: the log loss falls by the rate, exactly."""

    num_params = 1

    def init(self, generator):
        return torch.zeros(1)

    def logits(self, params, x):
        raise NotImplementedError

    def loss_and_grad(self, params, batch: Batch):
        return params[:, 0].exp(), torch.ones_like(params)


def test_the_estimates_find_the_gradient_of_a_problem_solved_by_hand():
    """log L_t = -sum_s base exp(s bias): at bias 0 its derivative is -base t (t + 1) / 2."""
    num_steps, base = 6, 0.01
    loop = InnerLoop(Quadratic(), LearnedRate(base, torch.zeros(META.num_theta), META))
    one = torch.zeros(1, 1)
    instances = Instances(
        one.double(),
        torch.zeros(1, num_steps, 1, dtype=torch.int64),
        one.double(),
        Batch(one[None], one[None]),
    )
    problem = repeating(loop, instances, 4000)
    theta = torch.zeros(META.num_theta, dtype=torch.float64)
    bias = META.num_theta - 5  # b2 holds the change and four writes
    expected = -base * sum(t * (t + 1) / 2 for t in range(num_steps)) / num_steps
    exact, _ = Backpropagation()(torch.tensor(0), theta, problem._replace(num_tasks=1), generator())
    assert exact.gradient[bias].item() == pytest.approx(expected, rel=1e-6)
    noise = exact.gradient.norm().item()  # of one pair, along one axis
    whole, _ = AntitheticES(1e-3)(torch.tensor(0), theta, problem, generator())
    assert whole.gradient[bias].item() == pytest.approx(expected, abs=3 * noise / 4000**0.5)
    persistent = mean_after_start(PersistentES(2, 1e-3), problem, theta, 12)
    assert persistent[bias].item() == pytest.approx(expected, abs=6 * noise / 12000**0.5)
    truncated = mean_after_start(PersistentES(2, 1e-3, accumulate=False), problem, theta, 12)
    assert truncated[bias] > expected / 2


# REINFORCE


def test_reinforce_agrees_with_finite_differences_of_the_exploring_policys_meta_loss(problem):
    """Finite differences hold the exploration fixed, the score function does not."""
    num_tasks, sigma = 6000, 0.5
    problem, theta = problem(num_tasks, 4), theta_at_random(0.1)
    estimator = Reinforce(sigma)
    estimate, _ = estimator(torch.tensor(0), theta, problem, generator())
    instances, start = problem.draw(0, num_tasks)
    noise = torch.randn(num_tasks, 4, generator=generator(5), dtype=torch.float64)

    def mean_loss(theta):
        info, _ = estimator.explore(problem, theta.expand(num_tasks, -1), instances, start, noise)
        return meta_loss(info).mean()

    along, step = estimate.gradient / estimate.gradient.norm(), 1e-4
    with torch.no_grad():
        difference = (mean_loss(theta + step * along) - mean_loss(theta - step * along)) / (2 * step)
    # `along` follows the estimate's own noise, of squared length sum |task norms|^2 / tasks^2
    error = (estimate.task_norms.square().sum() / num_tasks**2).sqrt()
    assert difference.item() == pytest.approx(estimate.gradient.norm().item(), abs=3 * error.item())
    assert difference.item() > 3 * error.item()


def test_exploration_of_no_width_is_the_learned_rate(problem):
    problem, theta = problem(6), theta_at_random()
    instances, start = problem.draw(0, 6)
    own = theta.expand(6, -1)
    info, _ = Reinforce(1e-12).explore(problem, own, instances, start, torch.ones(6, 8, dtype=torch.float64))
    _, plain = problem.loop.unroll(instances, with_theta(start, own))
    torch.testing.assert_close(info.loss, plain.loss, rtol=1e-9, atol=0)


# the shared contract

EVERY = [AntitheticES(), PersistentES(4), Backpropagation(4), Reinforce()]


@pytest.mark.parametrize("estimator", EVERY, ids=lambda each: type(each).__name__)
def test_an_estimate_is_finite_repeatable_and_leaves_its_arguments_alone(estimator, problem):
    problem, theta = problem(6), theta_at_random()
    state = estimator.init(problem, theta)
    before = [leaf.clone() for leaf in leaves(state)]
    first, after = estimator(state, theta, problem, generator())
    again, _ = estimator(state, theta, problem, generator())
    assert torch.equal(first.gradient, again.gradient)
    assert first.gradient.isfinite().all()
    assert first.gradient.shape == theta.shape
    assert not first.gradient.requires_grad
    assert first.task_norms.shape == (6,)
    for old, leaf in zip(before, leaves(state), strict=True):
        torch.testing.assert_close(leaf, old, rtol=0, atol=0, equal_nan=True)
    assert [leaf.shape for leaf in leaves(after)] == [leaf.shape for leaf in leaves(state)]
    assert not any(leaf.requires_grad for leaf in leaves(after))


@pytest.mark.parametrize(
    "estimator", [PersistentES(5), Backpropagation(5)], ids=lambda each: type(each).__name__
)
def test_a_truncation_that_does_not_divide_the_horizon_is_refused_with_those_that_do(estimator, problem):
    problem, theta = problem(6), theta_at_random()
    with pytest.raises(ValueError, match="truncation_length=5 does not divide horizon=8; use 2 or 4"):
        estimator(estimator.init(problem, theta), theta, problem, generator())


def test_arms_that_share_a_minibatch_run_as_instances_taken_twice(instances, learner):
    loop = InnerLoop(learner, LearnedRate(0.3, theta_at_random(), META))
    both = instances.take(torch.arange(6).repeat(2))
    expected, _ = loop.unroll(both)
    shared, _ = loop.unroll(instances, loop.init(both.params))
    assert torch.equal(expected.params, shared.params)


def test_replaced_instances_are_those_drawn_afresh(family, learner):
    old, new = (
        draw_instances(family, learner, Seeds("demo", count, start), 5, 32)
        for count, start in ((4, 0), (2, 9))
    )
    tasks, before = torch.tensor([3, 1]), [leaf.clone() for leaf in leaves(old)]
    replaced = old.replace(tasks, new)
    assert all(map(torch.equal, leaves(old), before)), "the old ones are as they were"
    for step in range(5):
        assert torch.equal(replaced.batch(step).x[tasks], new.batch(step).x)
        assert torch.equal(replaced.batch(step).x[[0, 2]], old.batch(step).x[[0, 2]])
    assert torch.equal(take(replaced.params, tasks), new.params)
    assert torch.equal(replaced.params[[0, 2]], old.params[[0, 2]])


# the held-out loss as the reward


def test_looks_tell_the_held_out_loss_before_their_steps_and_leave_the_run_as_it_is(problem):
    made = problem(2)
    instances, start = made.draw(0, 2)
    state, info = unroll(made.loop, instances, start, held_out_every=4)
    end, at_all = made.loop.unroll(instances, start)
    assert all(torch.equal(*pair) for pair in zip(leaves(state), leaves(end), strict=True))
    half = made.loop.unroll(instances, start, 0, 4)[0]
    expected = [made.loop.learner.loss(each.params, instances.test) for each in (start, half)]
    assert torch.allclose(info.loss, torch.stack(expected, 1))
    assert torch.equal(info.lr, at_all.lr[:, ::4])


@pytest.mark.parametrize("kind", [AntitheticES, PersistentES])
def test_an_estimate_of_the_held_out_loss_agrees_with_its_derivative(kind, problem):
    made = problem(4096)._replace(held_out_every=4)
    theta, num_tasks = theta_at_random(), 6
    estimator = kind(sigma=1e-4)
    estimate, _ = estimator(estimator.init(made, theta), theta, made, generator())
    exact = theta.clone().requires_grad_()
    instances, start = made.draw(0, num_tasks)
    _, info = unroll(made.loop, instances, with_theta(start, exact.expand(num_tasks, -1)), held_out_every=4)
    assert_near(estimate.gradient, torch.autograd.grad(meta_loss(info).mean(), exact)[0], 4096)
