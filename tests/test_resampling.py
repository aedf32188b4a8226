import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import (
    Cell,
    StoreError,
    Tune,
    by_cell,
    constant,
    evaluate,
    set_target,
    steps_to_threshold,
)
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Learn, Method, as_draw
from metalearn_lib.evaluate.preparations import Preparations
from metalearn_lib.evaluate.resampling import LEAST_WEIGHT, draw_winners, never, weights_of
from metalearn_lib.evaluate.store import Store
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates.constant import Constant
from metalearn_lib.statistics import Times
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

CELL = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8,), batch_size=32, horizon=16)
TUNE, SCORE = Seeds("tune", 40), Seeds("score", 6)
SGD = Tune(constant(Gradient()), CELL, resampled=True)


def at(lr, number=0.0):
    return InnerLoop(CELL.learner, Constant(lr), Gradient())


@pytest.fixture(scope="module")
def target():
    return set_target(CELL, TUNE)


def test_the_race_finds_what_the_whole_grid_says(target):
    instances = CELL.draw(TUNE, target.cap)
    logs = {
        (decade, 0.0): np.log(steps_to_threshold(at(10**decade), instances, target).steps)
        for decade in np.arange(-2, 2.01, 0.125)
    }
    best = min(logs, key=lambda each: logs[each].mean())
    drawn = draw_winners(CELL, at, TUNE, target)
    assert drawn.winner == best
    assert drawn.weights == pytest.approx(weights_of(logs, best))
    assert len(drawn.weights) > 1
    assert drawn.num_gradients < sum(np.exp(each).sum() for each in logs.values())
    for setting, steps in drawn.steps.items():
        np.testing.assert_array_equal(steps, np.exp(logs[setting]).round())


def test_the_cautious_choice_is_the_least_rate_within_a_standard_error(target):
    drawn = draw_winners(CELL, at, TUNE, target)
    best = np.log(drawn.steps[drawn.winner])
    gaps = {each: np.log(steps) - best for each, steps in drawn.steps.items()}
    level = [each for each, gap in gaps.items() if gap.mean() <= gap.std() / math.sqrt(len(TUNE))]
    assert drawn.cautious == min(level) <= drawn.winner


def test_a_tie_is_divided_between_both_and_a_rare_winner_is_left_out():
    coin = np.tile([0.0, 1.0], 200)
    weights = weights_of({(0.0, 0.0): coin, (1.0, 0.0): coin[::-1], (2.0, 0.0): coin + 1}, (0.0, 0.0))
    assert list(weights) == [(0.0, 0.0), (1.0, 0.0)]
    assert sum(weights.values()) == pytest.approx(1)
    assert weights[0.0, 0.0] == pytest.approx(0.5, abs=0.05)
    assert min(weights.values()) >= LEAST_WEIGHT


@pytest.mark.parametrize("count", [32, 256])
def test_what_is_dropped_wins_in_no_draw_and_what_is_level_stays(count):
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.5, count)
    noise -= noise.mean()
    shifts = [shift for shift in np.linspace(0.01, 1, 100) if never(noise + shift)]
    assert shifts
    least = noise + min(shifts)
    draws = least[random.integers(count, size=(20_000, count))].mean(1)
    assert draws.min() > 0
    assert not never(noise)
    assert not never(noise - 1)


def test_training_stops_when_it_is_told_to_and_says_so(target):
    instances = CELL.draw(TUNE, target.cap)
    asked = []
    outcome = steps_to_threshold(
        at(0.1), instances, target, lambda least: asked.append(least) or len(asked) == 3
    )
    assert outcome.gave_up
    assert outcome.num_gradients == 3 * 32
    assert [float(each.min()) for each in asked] == [1, 1, 1]
    assert float(asked[2][0]) == 3
    assert not steps_to_threshold(at(0.1), instances, target).gave_up


def test_an_oracle_is_tuned_on_half_of_the_instances_and_only_when_it_is_a_draw():
    oracle = Tune(constant(Gradient()), resampled=True)
    assert len(oracle.share(TUNE)) == 20
    assert len(SGD.share(TUNE)) == len(Tune(constant(Gradient())).share(TUNE)) == 40


def test_every_tuned_contestant_becomes_a_draw_and_others_stay():
    rival = SGD.rival
    assert as_draw(Tune(rival, CELL)) == SGD
    learned = as_draw(contestant("meta")[1])
    assert isinstance(learned, list)
    assert all(isinstance(each, Learn) and each.base.resampled for each in learned)
    fixed = Method(Gradient(), Constant(0.1))
    assert as_draw(fixed) is fixed


def test_rows_stand_for_every_choice_and_what_shares_a_tuning_shares_its_choices(tmp_path):
    learned = as_draw(contestant("meta")[1])[:2]
    methods = {"SGD": SGD, "meta": [Learn(each.direction, each.rate, SGD) for each in learned]}
    store = tmp_path / "found.parquet"
    table = evaluate([CELL], methods, SCORE, TUNE, store, workers=1, progress=False)
    weights = table[table.method == "SGD"].groupby("choice")["weight"].first()
    assert len(weights) > 1
    assert weights.sum() == pytest.approx(1)
    assert table.groupby(["method", "meta_seed", "choice"], observed=True).size().eq(6).all()
    result = by_cell(table)["tiny"]
    sgd, meta = result.times("SGD"), result.times("meta")
    assert isinstance(sgd, Times)
    assert isinstance(meta, Times)
    assert sgd.tuning == meta.tuning
    assert meta.steps.shape == (len(weights), 2, 6)
    assert result.speedup("SGD") == (1, 1, 1)
    mean = float(np.dot(weights, [each.steps.mean() for each in result.choices("SGD")]))
    assert result.mean_epochs("SGD") == pytest.approx(mean / 3)


def test_what_a_kept_table_was_prepared_with_is_kept_beside_it_and_tuned_by_nobody_again(
    tmp_path, monkeypatch
):
    def held():
        return Store(tmp_path / "kept.parquet", None, Preparations(tmp_path))

    asked = [CELL], {"SGD": SGD}, SCORE, TUNE
    evaluate(*asked, held(), workers=1, progress=False, merge=True)
    (row,) = pq.read_table(tmp_path / "preparations.parquet").to_pylist()
    facts = json.loads(row["facts"])
    assert {len(each["steps"]) for each in facts["tried"]} == {40}
    assert facts["cautious"]["lr"] <= facts["choices"][0]["lr"]

    def refuse(*_):
        raise AssertionError("tuned again")

    monkeypatch.setattr(Tune, "prepare", refuse)
    kept = Preparations(tmp_path)
    assert kept.facts(row["key"], row["code"]) == facts
    assert kept.facts(row["key"], "another") is None
    kept.stamp({row["key"]: "another"})
    assert Preparations(tmp_path).facts(row["key"], "another") == facts
    assert Preparations(tmp_path).keep([]) == 1
    assert row["key"] not in Preparations(tmp_path)


def test_a_changed_preparation_is_refused(tmp_path):
    kept = Preparations(tmp_path)
    kept.merge({"a": ("code", {"choices": []}), "b": ("code", {"choices": [1]})})
    kept.merge({"b": ("new", {"choices": [2]})})
    assert kept.facts("a", "code") == {"choices": []}
    assert Preparations(tmp_path).facts("b", "new") == {"choices": [2]}
    table = pq.read_table(kept.path)
    facts = table["facts"].to_pylist()
    changed = table.set_column(2, "facts", [[facts[0].replace("[]", "[7]"), facts[1]]])
    pq.write_table(changed, kept.path)
    with pytest.raises(StoreError, match="what was prepared as a is not what was written"):
        Preparations(tmp_path).facts("a", "code")
