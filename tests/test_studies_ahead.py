import numpy as np
import pandas as pd
import pytest
import torch
from hand_made import rows

from metalearn_lib.cards import load_theta, load_thetas, rule_of
from metalearn_lib.evaluate import Cell, by_cell
from metalearn_lib.evaluate.contestants import ORACLE
from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.monitor import bounded_log
from metalearn_lib.rates.constant import Constant
from metalearn_lib.studies import ahead
from metalearn_lib.studies.ahead import (
    ADAM_ORACLE,
    ADDITIONS,
    BEST,
    BY_LAYER,
    CHANGES,
    LAYERED,
    LONG,
    ON_ADAM,
    ORACLES,
    RULES,
    SHORT,
    at,
)
from metalearn_lib.studies.shared import file_of
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

TINY = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8, 8), batch_size=32, horizon=24)
ONE = Seeds("tune", 1)
PART = read_registration().part(["translate 2", "task A"], 2, 2, 2)
FILES = {label: name.partition(":")[2] for label, (name, _) in RULES.items()}


def rule(label: str, cell: Cell = TINY) -> InnerLoop:
    """A shipped rule at a base rate of 1, straight from its file."""
    theta, card = load_theta(FILES[label])
    direction, rate = rule_of(card["config"], theta, 1.0, cell.learner)
    return InnerLoop(cell.learner, rate, direction)


def test_a_base_rate_that_is_right_is_not_mentioned():
    assert at("SGD", 1) == "SGD"
    assert at("SGD", 0.01) == "SGD, base rate x 0.01"


@pytest.mark.parametrize("label", RULES)
def test_the_deployed_meta_seed_is_the_one_that_its_file_deploys(label):
    recipe = ahead.deployed(RULES[label][0])
    own = torch.cat([recipe.rate.theta, getattr(recipe.direction, "theta", torch.empty(0))])
    assert torch.equal(own, load_theta(FILES[label])[0])


def test_a_change_that_is_one_of_the_rules_goes_by_the_rules_name():
    called = {label: ahead.called(label) for label in CHANGES | ADDITIONS}
    renamed = {label: name for label, name in called.items() if name != label}
    assert renamed == {"horizons 96 to 384": LONG, "a rate per layer": LAYERED}


def test_everyone_that_the_page_compares_meets_everywhere():
    methods = ahead.ahead(PART, wrong_by=10).methods
    assert set(ORACLES) | set(ORACLES.values()) <= set(methods)
    assert {ahead.called(label) for label in CHANGES | ADDITIONS} <= set(methods)
    wrong = {label for label in methods if label not in ORACLES and ", base rate x" in label}
    assert wrong == {
        at(label, factor) for label in ("SGD", "Adam", LONG, LAYERED, ON_ADAM) for factor in (0.1, 10)
    }
    assert all(len(methods[label]) <= 2 for label in (*RULES, "horizon 384"))


def test_sgd_at_a_wrong_base_rate_is_a_rule_that_says_nothing_at_that_rate():
    silent = ahead.ahead(PART).methods[at("SGD", 100)]
    method = silent.method({"lr": 0.001, "number": 0.0}, TINY, ONE)
    lr = method.loop(TINY).unroll(TINY.draw(ONE, 5))[1].lr
    torch.testing.assert_close(lr, torch.full((1, 5), 0.1))


def test_elsewhere_the_rule_meets_alone_with_one_meta_seed():
    methods = ahead.elsewhere(PART).methods
    assert list(methods) == ["SGD", ORACLE, "Adam", LAYERED]
    assert torch.equal(methods[LAYERED].rate.theta, ahead.deployed(RULES[LAYERED][0]).rate.theta)


def test_cells_are_taken_together_by_groups_and_all_where_there_is_none_of_them():
    assert ahead.places(PART) == {"shifted": ["translate 2"], "home": ["task A"]}
    assert ahead.places(read_registration().part(["wine", "digits"], 2, 2, 1)) == {"all": ["wine", "digits"]}


STEPS = {
    **{label: [40, 40] for label in ORACLES},
    **{ORACLE: [20, 20], ADAM_ORACLE: [10, 10], BY_LAYER: [10, 10], LONG: [[10, 40], [40, 10]]},
    **{at(LONG, 0.01): [80, 80], at(LONG, 100): [60, 100]},
}
RESULTS = by_cell(rows({"translate 2": STEPS, "task A": STEPS | {LONG: [[20, 20], [20, 20]]}}))


def test_a_regret_is_over_the_oracle_of_the_same_direction_base_rates_right_and_wrong():
    table = ahead.regrets(RESULTS, PART)
    values = {line: each.value for line, each in table["shifted"].items()}
    assert values["SGD"] == pytest.approx(2)
    assert values["Adam"] == pytest.approx(4)
    assert values[BY_LAYER] == pytest.approx(0.5)
    assert values[LONG] == pytest.approx(1)
    assert values[at(LONG, 0.01)] == pytest.approx(4)
    assert set(values) == {*ORACLES, at(LONG, 0.01), at(LONG, 100)}
    assert table["home"][LONG] == (1, 1, 1)


def test_runs_that_never_get_there_are_counted_in_the_shifted_cells_beside_the_oracles():
    table = ahead.regrets(RESULTS, PART)
    assert table["never there"][at(LONG, 100)] == 0.5
    assert table["never there"][LONG] == 0
    assert set(table["the oracle's never there"]) == {0}


def test_the_worst_regret_of_a_rule_is_over_its_base_rates():
    table = ahead.regrets(RESULTS, PART)
    assert ahead.worst(table, LONG) == table["shifted"][at(LONG, 0.01)]
    assert ahead.worst(table, SHORT) == table["shifted"][SHORT]


def test_a_meta_loss_is_the_mean_log_loss_relative_to_the_start_and_the_best_rate_is_best_in_it(monkeypatch):
    monkeypatch.setattr(ahead, "HORIZONS", (4, 12))
    monkeypatch.setattr(ahead, "GRID", np.array([0.01, 0.1]))
    seeds = Seeds("tune", 3)
    table = ahead.meta_losses({"tiny": TINY}, seeds)
    assert list(table.index) == [("tiny", "4 steps"), ("tiny", "12 steps")]
    loops = {lr: InnerLoop(TINY.learner, Constant(lr)) for lr in (0.01, 0.1)} | {SHORT: rule(SHORT)}
    for steps in (4, 12):
        log_loss = {
            key: bounded_log(loop.unroll(TINY.draw(seeds, 12))[1].loss[:, :steps])
            for key, loop in loops.items()
        }
        expected = {key: float((each - each[:, :1]).mean()) for key, each in log_loss.items()}
        line = table.loc["tiny", f"{steps} steps"]
        assert line[BEST] == pytest.approx(min(expected[0.01], expected[0.1]), abs=1e-5)
        assert line[SHORT] == pytest.approx(expected[SHORT], abs=1e-5)


def test_a_win_is_a_meta_loss_below_the_best_constant_rates_at_that_horizon():
    index = pd.MultiIndex.from_product([["a", "b"], ["96 steps", "384 steps"]])
    table = pd.DataFrame({BEST: [-1.0, -1, -1, -1], SHORT: [-2.0, -2, -2, 0]}, index)
    assert [ahead.wins(table, SHORT, steps) for steps in (96, 384)] == [2, 1]
    assert ahead.wins(table, BEST, 96) == 0


@pytest.mark.parametrize("label", RULES)
def test_the_rate_along_one_run_is_the_shipped_rules_at_a_base_rate_of_one(label, monkeypatch):
    monkeypatch.setattr(ahead, "HORIZONS", (2, 6))
    expected = rule(label).unroll(TINY.draw(ONE, 6))[1].lr
    torch.testing.assert_close(ahead.rate_path(TINY, label, ONE), expected[0])


def test_the_rate_of_a_layer_is_what_its_weights_move_by_per_gradient(monkeypatch):
    monkeypatch.setattr(ahead, "HORIZONS", (2, 4))
    found = ahead.layer_rates(TINY, ONE)
    instances, loop = TINY.draw(ONE, 4), rule(LAYERED)
    params, sizes = instances.params, [2 * 8 + 8, 8 * 8 + 8, 8 * 4 + 4]
    for step, (state, _) in enumerate(loop.iterate(instances)):
        _, grad = TINY.learner.loss_and_grad(params, instances.batch(step))
        moved = [each.norm() for each in (params - state.params).split(sizes, 1)]
        pull = [each.norm() for each in grad.split(sizes, 1)]
        expected = torch.stack(moved) / torch.stack(pull)
        torch.testing.assert_close(found[:, step], expected, rtol=1e-3, atol=0)
        params = state.params


def test_costs_are_over_a_step_of_sgd():
    costs = ahead.costs(TINY, ONE)
    assert list(costs) == ["SGD", LONG, LAYERED]
    assert costs["SGD"] == 1


def test_two_rules_are_compared_over_the_meta_seeds_that_both_have():
    few, many = [[20, 20]], [[40, 40], [1, 1], [100, 100]]
    (cell,) = by_cell(rows({"task A": {"few": few, "many": many}})).values()
    assert ahead.over_both([cell], "few", "many").value == pytest.approx(2)
    assert ahead.over_both([cell], "many", "few").value == pytest.approx(0.5)


CHANGED = by_cell(
    rows(
        {
            name: {ahead.called(label): [[10 * n, 10 * n]] for n, label in enumerate(CHANGES, 1)}
            | {SHORT: [[30, 30]]}
            for name in ("task A", "scale 4")
        }
    )
)


def test_what_a_change_is_worth_is_the_speedup_over_the_rule_before_it():
    worth = ahead.worth(CHANGED, CHANGES, SHORT)
    for row in worth.values():
        values = [each.value for each in row.values()]
        assert list(row) == list(CHANGES)
        assert values == pytest.approx([30 / (10 * n) for n in range(1, len(CHANGES) + 1)])


def test_the_account_says_with_how_many_meta_seeds_each_was_trained():
    table = ahead.account(list(CHANGED.values()), CHANGES, SHORT)
    seeds = {label: len(load_thetas(file_of(name))[0]) for label, name in CHANGES.items()}
    assert table["meta-seeds"].to_dict() == seeds
    assert table["over the shifted cells"]["horizons 96 to 384"].value == pytest.approx(3)
    assert (table["gradients of each, millions"].astype(float) > 1).all()


def test_the_slowest_cell_is_the_one_with_the_longest_median_time():
    results = by_cell(rows({"a": {ORACLE: [10, 10, 100]}, "b": {ORACLE: [1, 30, 31]}}))
    assert ahead.slowest(list(results.values())) == "b"
