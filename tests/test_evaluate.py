import numpy as np
import pytest
import torch

from metalearn_lib.directions import Adam, Gradient
from metalearn_lib.evaluate import (
    ORACLE,
    Cell,
    Method,
    evaluate,
    held_out_curve,
    set_target,
    steps_to_threshold,
    tune,
)
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.meta_optimizers import LearnedRate, MetaOptimizer
from metalearn_lib.rates import Constant
from metalearn_lib.statistics import Interval, headroom_captured, log_ratios, restricted_speedup, verdict
from metalearn_lib.tasks import GaussianMixture
from metalearn_lib.types import Seeds

FAMILY = GaussianMixture(num_points=96, num_test=64)
CELL = Cell("tiny", FAMILY, hidden=(8,), batch_size=32, horizon=24)


def test_the_crossing_is_the_first_of_two_evaluations_in_a_row_below_the_threshold():
    seeds = Seeds("score", 40)
    target = set_target(CELL, seeds)
    instances = CELL.draw(seeds, target.cap)
    loop = InnerLoop(CELL.learner, Constant(0.5))
    outcome = steps_to_threshold(loop, instances, target)
    curve = held_out_curve(loop, instances)
    for steps, crossed, losses, threshold in zip(
        outcome.steps, outcome.crossed, curve, target.threshold, strict=True
    ):
        below = (losses < threshold).tolist()
        expected = next((step + 1 for step in range(target.cap - 1) if below[step] and below[step + 1]), None)
        assert (steps, crossed) == ((target.cap, False) if expected is None else (expected, True))
    assert 0 < outcome.crossed.sum() < 40  # both ends were seen


def test_a_diverged_run_is_censored_at_the_cap_and_never_dropped():
    seeds = Seeds("score", 5)
    target = set_target(CELL, seeds)
    loop = InnerLoop(CELL.learner, Constant(1e30))
    outcome = steps_to_threshold(loop, CELL.draw(seeds, target.cap), target)
    assert outcome.steps.tolist() == [target.cap] * 5
    assert not outcome.crossed.any()
    assert not outcome.finite.any()
    assert outcome.num_failed == 5


def test_the_threshold_lies_a_tenth_of_the_way_from_the_reference_to_the_prior():
    target = set_target(CELL, Seeds("score", 4))
    expected = target.reference_loss + 0.1 * (target.prior_loss - target.reference_loss)
    torch.testing.assert_close(target.threshold, expected)
    assert (target.reference_loss < target.threshold).all()


def test_the_prior_is_the_entropy_of_the_held_out_classes():
    seeds = Seeds("score", 3)
    target = set_target(CELL, seeds)
    labels = CELL.family.stack(seeds).y_test
    for task, prior in zip(labels, target.prior_loss, strict=True):
        frequency = np.bincount(task, minlength=4) / len(task)
        assert prior.item() == pytest.approx(-(frequency * np.log(frequency)).sum(), rel=1e-5)


def test_a_cell_in_which_nothing_can_be_learnt_is_refused():
    with pytest.raises(RuntimeError, match="learns nothing"):
        set_target(
            Cell("noise", GaussianMixture(num_points=96, num_test=64, separation=1e-6), (8,), 32, 1),
            Seeds("score", 8),
        )


def test_tuning_finds_the_best_rate_of_the_whole_grid():
    seeds = Seeds("tune", 12)
    target = set_target(CELL, seeds)
    instances = CELL.draw(seeds, target.cap)

    def cost(decade):
        loop = InnerLoop(CELL.learner, Constant(10**decade), Gradient())
        return np.log(steps_to_threshold(loop, instances, target).steps).mean()

    best = tune(CELL, Gradient(), seeds)
    costs = {decade: cost(decade) for decade in np.arange(-6, 2.25, 0.5)}
    half = min(costs, key=costs.get)
    around = min((half - 0.25, half, half + 0.25), key=cost)
    assert best == pytest.approx(10**around)


def test_tuning_refuses_the_instances_that_score_and_scoring_those_that_tuned():
    with pytest.raises(ValueError, match="for 'score', and this function takes only 'tune'"):
        tune(CELL, Gradient(), Seeds("score", 2))
    with pytest.raises(ValueError, match="takes only 'score'"):
        evaluate([CELL], {}, Seeds("tune", 2), Seeds("tune", 2), workers=1, progress=False)


def test_every_method_meets_every_instance_and_processes_change_nothing():
    untrained = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))
    methods = {
        "SGD": Method(Gradient(), Constant(0.5)),
        "placebo": Method(Gradient(), LearnedRate(0.5, untrained)),
        "Adam": Method(Adam(), Constant(0.05)),
    }
    cells = [CELL, Cell("wide", FAMILY, hidden=(12,), batch_size=32, horizon=24)]
    seeds = Seeds("score", 8), Seeds("tune", 6)
    here, there = (evaluate(cells, methods, *seeds, workers=workers, progress=False) for workers in (1, 2))
    assert list(here) == list(there) == ["tiny", "wide"]
    for name, result in here.items():
        assert set(result.outcomes) == {"SGD", "placebo", "Adam", ORACLE}
        for method, outcome in result.outcomes.items():
            assert len(outcome.steps) == 8
            assert np.array_equal(outcome.steps, there[name].outcomes[method].steps)
        speedup = restricted_speedup(result.outcomes["SGD"].steps, result.outcomes["placebo"].steps)
        assert speedup == Interval(1, 1, 1)


def test_two_cells_of_one_name_are_refused():
    with pytest.raises(ValueError, match="share a name"):
        evaluate([CELL, CELL], {}, Seeds("score", 2), Seeds("tune", 2))


def test_the_restricted_speedup_is_a_ratio_of_geometric_means():
    speedup = restricted_speedup(np.array([8.0, 20.0, 50.0]), np.array([4.0, 20.0, 10.0]))
    assert speedup.value == pytest.approx((2 * 1 * 5) ** (1 / 3))
    assert speedup.low <= speedup.value <= speedup.high


def test_the_interval_covers_the_true_speedup_in_about_nineteen_cases_of_twenty():
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(500):
        baseline = generator.lognormal(4, 1, 128)
        method = baseline * np.exp(-0.3 + generator.normal(0, 0.5, 128))
        interval = restricted_speedup(baseline, method, num_draws=500, seed=trial)
        covered += interval.low <= np.exp(0.3) <= interval.high
    assert 0.92 <= covered / 500 <= 0.98


def test_a_time_that_is_infinite_or_does_not_pair_is_refused():
    with pytest.raises(ValueError, match="counts as the cap"):
        log_ratios(np.array([1.0, np.inf]), np.ones(2))
    with pytest.raises(ValueError, match="do not pair"):
        log_ratios(np.ones(3), np.ones(2))


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((1.5, 1.2, 1.8), "better"),
        ((0.8, 0.7, 0.9), "worse"),
        ((1.0, 0.95, 1.05), "equivalent"),
        ((1.2, 1.05, 1.4), "inconclusive"),
        ((1.0, 1.0, 1.0), "equivalent"),
    ],
)
def test_the_verdict_follows_from_the_interval_and_the_equivalence_zone(interval, expected):
    assert verdict(Interval(*interval)) == expected


def test_headroom_captured_is_one_for_the_oracle_and_undefined_where_there_is_none():
    baseline, oracle = np.array([40.0, 80.0]), np.array([10.0, 20.0])
    assert headroom_captured(baseline, oracle, oracle) == pytest.approx(1)
    assert headroom_captured(baseline, baseline, oracle) == pytest.approx(0)
    assert headroom_captured(baseline, np.array([20.0, 40.0]), oracle) == pytest.approx(0.5)
    assert np.isnan(headroom_captured(baseline, baseline, baseline))
