import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from metalearn_lib.evaluate import ORACLE, CellResult, Outcome
from metalearn_lib.gradient_estimators import ESTIMATORS
from metalearn_lib.gradient_estimators.es import AntitheticES
from metalearn_lib.meta_train import MetaTrainConfig, Trained
from metalearn_lib.shifts.random_family import families
from metalearn_lib.statistics import Interval
from metalearn_lib.studies import meta_training as study

TINY = replace(study.BASE, num_tasks=2, horizon=4, batch_size=32, outer_steps=1)


class Halves(AntitheticES):
    """ES under another name: an estimator of a reader's own."""

    name, label = "halves", "halves"


def run(*losses, seed=0, steps=2, **history) -> Trained:
    """A meta-seed whose validation loss is the last of its `losses`."""
    card = {
        "validation_loss": {str(seed): losses[-1]},
        "gradient_evaluations": 1000,
        "config": {"outer_steps": steps},
    }
    return Trained(
        torch.full((3,), float(seed)), {"meta_loss": list(losses), "nonfinite": [0, 1]} | history, card
    )


def cell(name: str, **steps) -> CellResult:
    arrays = {method: np.array(each, float) for method, each in steps.items()}
    runs = {m: Outcome(each, each < 100, np.ones_like(each, bool)) for m, each in arrays.items()}
    return CellResult(name, 100, 8.0, runs)


def test_every_estimator_is_compared_and_those_that_cut_runs_otherwise_too():
    found = study.estimators(40_000, 64, 16, 2)
    assert list(found) == ["ES", "PES", "backpropagation", "truncated backpropagation", "REINFORCE"]
    assert {config.estimator for (config, _) in found.values()} == set(ESTIMATORS)
    assert [config.seed for config in found["PES"]] == [0, 1]


def test_an_estimator_from_outside_is_compared_too():
    found = study.estimators(40_000, 64, 16, 2, [f"{__name__}:Halves"])
    assert found["halves"][0].outer_steps == found["ES"][0].outer_steps


@pytest.mark.parametrize("label", ["ES", "PES", "backpropagation", "truncated backpropagation", "REINFORCE"])
def test_the_ledger_charges_what_a_run_spends(label):
    config = study.estimators(6_000, 8, 4, 1)[label][0]
    (trained,) = study.train({label: [config]}, workers=1)[label]
    one_more = trained.card["gradient_evaluations"] * (1 + 1 / config.outer_steps)
    assert trained.card["gradient_evaluations"] <= 6_000 < one_more


def test_only_what_differentiates_nothing_trains_in_the_compiled_loop():
    compiled = {
        config.estimator for (config,) in study.estimators(1_000, 8, 4, 1).values() if config.compile_step
    }
    assert compiled == {"es", "pes"}


def test_all_families_are_all_that_there_are_but_scaled_inputs_and_real_data():
    config = study.by_families(1_000, 8, 1)
    assert list(config) == [1, 2, 4, max(config)]
    left = set(families()) - set(config[max(config)][0].families)
    assert left == {"scale", "digits", "breast_cancer", "wine", "mnist"}
    assert config[4][0].families == ("home", "translate", "anisotropy", "rotate")


def test_runs_come_back_under_the_names_that_they_were_asked_by():
    asked = {"a": [TINY, replace(TINY, seed=1)], 2: [replace(TINY, seed=2)]}
    trained = study.train(asked, workers=1)
    seeds = {name: [run.card["config"]["seed"] for run in each] for name, each in trained.items()}
    assert seeds == {"a": [0, 1], 2: [2]}


def test_the_best_estimator_comes_first_with_its_worst_seed_and_all_runs_that_broke():
    runs = {"bad": [run(3.0), run(1.0)], "good": [run(-2.0), run(-1.0, seed=1)]}
    table = study.ranking(runs)
    assert list(table.index) == list(study.losses(runs)) == ["good", "bad"]
    assert table.loc["good", "worst seed"] == "-1.00"
    assert table.loc["good", "runs that broke"] == 2
    assert table.loc["bad", "validation meta-loss"].startswith("2.00 [1.00")
    assert study.best(runs["good"]).tolist() == [0, 0, 0]


def test_a_curve_ends_at_what_was_spent():
    spent, losses = study.curves({"ES": [run(3.0, 1.0), run(2.0, 0.0)]})["ES"]
    assert spent.tolist() == [500, 1000]
    assert losses.tolist() == [[3, 1], [2, 0]]


def test_the_spread_is_the_longest_estimate_over_their_mean_and_a_mean_of_nothing_is_not_divided_by():
    history = {"largest_task_norm": [6.0, 1.0], "gradient_norm": [2.0, 0.0]}
    assert study.spread({"ES": [run(0.0, **history)]})["ES"].tolist() == [[3, 1e12]]


def test_a_truncation_of_the_whole_run_points_where_the_whole_does_and_a_short_one_elsewhere():
    config = replace(TINY, estimator="backprop")
    found = study.cosines(config, config.init_theta() + 0.01, [2, 4], calls=1)
    assert found[4] == pytest.approx(1)
    assert found[2] < 0.999


def test_rules_that_cross_as_the_oracle_does_capture_all_and_those_like_sgd_nothing():
    results = {
        "scale 4": cell("scale 4", **{"SGD": [80, 80], ORACLE: [20, 20], "1 families": [[20, 20], [80, 80]]}),
        "digits": cell("digits", **{"SGD": [80, 80], ORACLE: [40, 40], "1 families": [[40, 40], [40, 40]]}),
    }
    found = study.captured(results, [1])
    assert found["scale 4"][1] == pytest.approx([1, 0])
    assert found["digits"][1] == pytest.approx([1, 1])
    assert found["of both"][1] == pytest.approx([1, math.log(2) / math.log(8)])


def test_rules_meet_where_none_was_trained():
    rules = {1: [Trained(MetaTrainConfig().init_theta(), {}, {})] * 2}
    asked = study.left_out(rules, 2, 2)
    assert [each.name for each in asked.cells] == ["scale 4", "digits"]
    assert list(asked.methods) == ["SGD", ORACLE, "1 families"]
    assert len(asked.jobs) == 2 * 4


@pytest.mark.parametrize(
    ("many", "told"),
    [
        (Interval(3, 2.5, 4), "more"),
        (Interval(0, -1, 0.5), "less"),
        (Interval(2, 0, 4), "neither clearly more nor clearly less"),
    ],
)
def test_only_intervals_that_lie_apart_are_told_apart(many, told):
    assert study.more_or_less(many, Interval(1.5, 1, 2)) == told
