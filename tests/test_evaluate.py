import numpy as np
import pandas as pd
import pytest
import torch

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import (
    COLUMNS,
    Cell,
    Learn,
    Method,
    Store,
    StoreError,
    Tune,
    by_cell,
    constant,
    evaluate,
    held_out_curve,
    jobs,
    overhead,
    search,
    set_target,
    steps_to_threshold,
    tune,
)
from metalearn_lib.evaluate.contest import count_missing
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.statistics import Interval, headroom_interval, log_ratios, restricted_speedup, verdict
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

FAMILY = GaussianMixture(num_points=96, num_test=64)
THETA = 0.05 * torch.randn(MetaOptimizer().num_theta, generator=torch.Generator().manual_seed(0))
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


@pytest.mark.parametrize("changed", ["dtype", "device", "grad mode", "threads"])
def test_a_users_own_defaults_change_no_answer(changed):
    methods = {"SGD": SGD, "meta": Learn(Gradient(), LearnedRate(1.0, THETA), SGD)}
    asked = [CELL], methods, Seeds("score", 3), Seeds("tune", 4)
    usual = evaluate(*asked, workers=1, progress=False)
    before = torch.get_default_dtype(), torch.get_num_threads()
    try:
        if changed == "dtype":
            torch.set_default_dtype(torch.float64)
        elif changed == "device":
            torch.set_default_device("meta")
        elif changed == "threads":
            torch.set_num_threads(2)
        with torch.set_grad_enabled(changed == "grad mode"):
            pd.testing.assert_frame_equal(evaluate(*asked, workers=1, progress=False), usual)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(before[0])
        torch.set_num_threads(before[1])


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
            Cell("noise", GaussianMixture(num_points=96, num_test=64, separation=1e-6), (8,), 32, horizon=1),
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


def test_a_grid_may_end_at_the_best_rate_of_a_number_that_loses_and_of_none_that_wins():
    def scaled(lr, number):
        return InnerLoop(CELL.learner, Constant(lr * number), Gradient())

    seeds = Seeds("tune", 4)
    target = set_target(CELL, seeds)
    alone, beside = (search(CELL, scaled, seeds, target, numbers) for numbers in ((1.0,), (1e-3, 1.0)))
    assert beside[:3] == alone[:3]
    assert beside.num_gradients > alone.num_gradients
    with pytest.raises(
        RuntimeError, match=r"Constant\(lr=0.1\) lies at an end of the tuning grid.* on these 4"
    ):
        search(CELL, scaled, seeds, target, (1e-3,))


def test_tuning_refuses_the_instances_that_score_and_scoring_those_that_tuned():
    with pytest.raises(ValueError, match="for 'score', and this function takes only 'tune'"):
        tune(CELL, Gradient(), Seeds("score", 2))
    with pytest.raises(ValueError, match="takes only 'score'"):
        evaluate([CELL], {}, Seeds("tune", 2), Seeds("tune", 2), workers=1, progress=False)


SGD = Tune(constant(Gradient()), CELL)
UNTRAINED = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))
PLACEBO = Learn(Gradient(), LearnedRate(1.0, UNTRAINED), SGD)
WIDE = Cell("wide", FAMILY, hidden=(12,), batch_size=32, horizon=24, base_lr_factor=0.1)
SEEDS = Seeds("score", 8), Seeds("tune", 6)
CONTESTANTS = {
    "SGD": SGD,
    "placebo": [PLACEBO, PLACEBO],
    "fixed": Method(Gradient(), Constant(0.5)),
    "oracle": Tune(constant(Gradient())),
}


def test_every_method_meets_every_instance_and_processes_change_nothing():
    here, there = (evaluate([CELL, WIDE], CONTESTANTS, *SEEDS, workers=w, progress=False) for w in (1, 2))
    assert here.equals(there)
    assert list(here.columns) == list(COLUMNS)
    assert len(here) == 2 * (1 + 2 + 1 + 1) * 8  # cells, methods with their meta-seeds, instances
    counts = here.groupby(["cell", "method", "meta_seed"], observed=True)["instance"].agg(
        ["count", "nunique"]
    )
    assert (counts == 8).all(axis=None)


def test_a_placebo_crosses_when_its_base_does_in_every_cell_and_under_every_meta_seed():
    for result in by_cell(evaluate([CELL, WIDE], CONTESTANTS, *SEEDS, workers=1, progress=False)).values():
        placebo = result.outcomes["placebo"].steps
        assert placebo.shape == (2, 8)
        assert restricted_speedup(result.outcomes["SGD"].steps, placebo[0]) == Interval(1, 1, 1)
        assert np.array_equal(placebo[0], placebo[1])


def test_a_row_tells_what_a_run_by_hand_finds():
    table = evaluate([WIDE], CONTESTANTS, *SEEDS, workers=1, progress=False)
    rate = 0.1 * tune(CELL, Gradient(), SEEDS[1])  # tuned elsewhere, and mis-set by the cell
    target = set_target(WIDE, SEEDS[0])
    outcome = steps_to_threshold(
        InnerLoop(WIDE.learner, Constant(rate)), WIDE.draw(SEEDS[0], target.cap), target
    )
    rows = table[table.method == "SGD"]
    assert np.array_equal(rows.steps, outcome.steps)
    assert np.array_equal(rows.crossed, outcome.crossed)
    assert np.allclose(rows.epochs, outcome.steps / 3)
    assert np.allclose(rows.threshold, target.threshold)
    assert set(rows.cap) == {target.cap}
    oracle = table[table.method == "oracle"]
    assert set(oracle.lr) == {tune(WIDE, Gradient(), SEEDS[1])}  # which the mis-set base rate does not touch


@pytest.fixture
def runs(monkeypatch):
    """The cells of all runs that are computed; the fifth after `runs.clear()` can be made to be interrupted."""

    class Runs(list):
        interrupt_at = -1

    seen, run = Runs(), jobs.steps_to_threshold

    def counted(*arguments):
        seen.append(arguments)
        if len(seen) == seen.interrupt_at:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(jobs, "steps_to_threshold", counted)
    return seen


def missing(store, methods=CONTESTANTS, cells=(CELL, WIDE)):
    return count_missing(jobs.jobs(cells, methods, *SEEDS), Store(store, f"{store}.parts"))


def test_an_interrupted_contest_resumes_and_writes_the_same_bytes(tmp_path, runs):
    whole, broken = tmp_path / "whole.parquet", tmp_path / "broken.parquet"
    evaluate([CELL, WIDE], CONTESTANTS, *SEEDS, whole, workers=1, progress=False)
    assert len(runs) == 10

    runs.clear()
    runs.interrupt_at = 5
    with pytest.raises(KeyboardInterrupt):
        evaluate([CELL, WIDE], CONTESTANTS, *SEEDS, broken, workers=1, progress=False)
    assert not broken.exists()
    assert missing(broken) == 10 - 4
    evaluate([CELL, WIDE], CONTESTANTS, *SEEDS, broken, workers=1, progress=False)
    assert len(runs) == 5 + (10 - 4)  # four were kept
    assert whole.read_bytes() == broken.read_bytes()
    written = broken.stat().st_mtime_ns
    evaluate([CELL, WIDE], CONTESTANTS, *SEEDS, broken, workers=1, progress=False)
    assert len(runs) == 11  # nothing was left to do
    assert broken.stat().st_mtime_ns == written  # nor to write
    assert missing(broken) == 0


def test_another_method_or_another_setting_is_computed_and_what_is_there_is_not(tmp_path, runs):
    store = tmp_path / "kept.parquet"
    fixed = {"fixed": CONTESTANTS["fixed"]}
    evaluate([CELL], fixed, *SEEDS, store, workers=1, progress=False)
    more = fixed | {"faster": Method(Gradient(), Constant(0.6))}
    assert len(evaluate([CELL], more, *SEEDS, store, workers=1, progress=False)) == 16
    assert len(runs) == 2
    evaluate([CELL], {"fixed": Method(Gradient(), Constant(0.7))}, *SEEDS, store, workers=1, progress=False)
    assert len(runs) == 3


def test_a_narrower_question_drops_no_row_and_its_answer_holds_no_other(tmp_path, runs):
    store = tmp_path / "kept.parquet"
    whole = evaluate([CELL, WIDE], CONTESTANTS, *SEEDS, store, workers=1, progress=False)
    before = store.read_bytes()
    part = evaluate([WIDE], {"fixed": CONTESTANTS["fixed"]}, *SEEDS, store, workers=1, progress=False)
    assert store.read_bytes() == before
    assert len(runs) == 10
    there = whole[(whole.cell == "wide") & (whole.method == "fixed")].reset_index(drop=True)
    assert part.astype(str).equals(there.astype(str))


def test_a_store_reads_a_kept_table_and_writes_only_its_parts(tmp_path, runs):
    kept = tmp_path / "kept.parquet"
    evaluate([CELL], {"fixed": CONTESTANTS["fixed"]}, *SEEDS, kept, workers=1, progress=False)
    before = kept.read_bytes()
    for _ in range(2):
        store = Store(kept, tmp_path / "cache")
        table = evaluate(
            [CELL, WIDE], {"fixed": CONTESTANTS["fixed"]}, *SEEDS, store, workers=1, progress=False
        )
        assert len(table) == 16
        assert len(runs) == 2  # one was kept, the other is cached
    assert kept.read_bytes() == before
    assert list((tmp_path / "cache").glob("*.parquet"))


def test_a_number_that_was_changed_in_a_kept_row_is_seen(tmp_path):
    kept = tmp_path / "kept.parquet"
    asked = [CELL], {"fixed": CONTESTANTS["fixed"]}, *SEEDS
    table = evaluate(*asked, kept, workers=1, progress=False)
    evaluate(*asked, Store(kept), workers=1, progress=False)
    table.loc[3, "steps"] += 1
    table.to_parquet(kept)
    with pytest.raises(StoreError, match="the rows of 'fixed' in 'tiny' are not what was written"):
        evaluate(*asked, Store(kept), workers=1, progress=False)


def test_a_damaged_or_foreign_store_is_refused_by_name(tmp_path):
    fixed = {"fixed": CONTESTANTS["fixed"]}
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(StoreError, match=r"damaged\.parquet is damaged .* delete it"):
        evaluate([CELL], fixed, *SEEDS, damaged, workers=1, progress=False)
    foreign = tmp_path / "foreign.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(foreign)
    with pytest.raises(StoreError, match="no table of results"):
        evaluate([CELL], fixed, *SEEDS, foreign, workers=1, progress=False)


def test_a_step_that_takes_three_times_as_long_costs_three_times_as_much(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(overhead.time, "process_time", lambda: clock[0])

    class Timed(InnerLoop):
        def step(self, state, batch):
            clock[0] += self.rate.lr
            return super().step(state, batch)

    loops = {name: Timed(CELL.learner, Constant(lr)) for name, lr in (("short", 0.25), ("long", 0.75))}
    cost = overhead.relative_cost(loops, CELL.draw(Seeds("demo", 2), 4), rounds=2)
    assert cost == {"short": 1, "long": 3}


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
    assert headroom_interval(baseline, oracle, oracle).value == pytest.approx(1)
    assert headroom_interval(baseline, baseline, oracle).value == pytest.approx(0)
    assert headroom_interval(baseline, np.array([20.0, 40.0]), oracle).value == pytest.approx(0.5)
    assert np.isnan(headroom_interval(baseline, baseline, baseline).value)
