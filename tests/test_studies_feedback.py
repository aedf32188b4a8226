from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from hand_made import rows

from metalearn_lib.cards import load_thetas
from metalearn_lib.evaluate import by_cell
from metalearn_lib.evaluate.feedback import LINKS, Surrogate
from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.fingerprints import fingerprint
from metalearn_lib.rates.base import Rate
from metalearn_lib.statistics import Interval
from metalearn_lib.studies import feedback
from metalearn_lib.studies.feedback import ALL_INPUTS, BLIND, CONTROLS, META, TRAINED_WITHOUT

PART = read_registration().part(["task A"], 2, 2, 2)
WATCHES = dict(zip(LINKS, ([80, 40], [40, 40], [40, 20], [30, 20], [20, 20], [10, 10]), strict=True))
BLINDLY = dict(zip(LINKS, ([80, 80], [40, 40], [20, 20], [20, 20], [25, 25], [20, 20]), strict=True))
CHAIN = by_cell(rows({"watches": WATCHES, "blindly": BLINDLY}))


def test_the_links_factors_multiply_to_the_closed_loop_over_sgd():
    for name, factors in feedback.factors(CHAIN).items():
        assert list(factors) == list(LINKS[1:])
        whole = CHAIN[name].speedup("the closed loop", LINKS[0]).value
        assert np.prod([each.value for each in factors.values()]) == pytest.approx(whole)


def test_a_loop_no_sooner_than_its_schedule_on_a_is_not_shown_to_use_the_state_of_training():
    table = feedback.closed_loops(CHAIN)
    assert table[feedback.USES].to_dict() == {"watches": "yes", "blindly": "not shown"}
    assert table["over its schedule on A"]["blindly"] == Interval(1, 1, 1)
    assert table["closed loop over SGD"]["blindly"].value == pytest.approx(4)
    assert table["over its run on another instance"]["watches"].value == pytest.approx(2)


def test_controls_stand_beside_the_rule_with_their_failures_in_per_cent():
    steps = {"SGD": [40, 40], META: [[20, 20]], CONTROLS[0]: [[80, 80]], CONTROLS[1]: [[100, 40]]}
    line = feedback.controls(by_cell(rows({"task A": steps}))).loc["task A"]
    assert [line[label].value for label in (META, CONTROLS[0])] == pytest.approx([2, 0.5])
    assert line[[f"{label} fails" for label in CONTROLS]].tolist() == ["0 %", "50 %"]


def ablated(**slower: list) -> dict:
    """A cell in which all rules take 20 steps, and SGD and the named ones (a space is a _) others."""
    steps = {label: [[20, 20]] for label in (ALL_INPUTS, *TRAINED_WITHOUT)} | {"SGD": [40, 40]}
    return by_cell(rows({"task A": steps | {name.replace("_", " "): each for name, each in slower.items()}}))


def test_what_an_input_is_worth_is_the_speedup_without_it_over_the_rule_that_has_all():
    results = ablated(no_loss=[[80, 80]])
    worth = feedback.worth(results)["task A"]
    assert {label: each.value for label, each in worth.items()} == {
        label: pytest.approx(0.25 if label == "no loss" else 1) for label in TRAINED_WITHOUT
    }
    line = feedback.without_inputs(results).loc["task A"]
    assert line["all inputs, over SGD"].value == pytest.approx(2)
    assert line[list(TRAINED_WITHOUT)].to_dict() == worth


def test_the_sentence_names_the_input_that_is_missed_most_and_never_the_blind_rule():
    missed = feedback.most_missed(feedback.worth(ablated(no_trends=[[40, 40]], the_rate_alone=[[80, 80]])))
    assert '"no trends"' in missed
    assert missed.endswith("slower in 1.")
    assert "No single input" in feedback.most_missed(feedback.worth(ablated(the_rate_alone=[[80, 80]])))
    assert "No single input" in feedback.most_missed(feedback.worth(ablated(no_loss=[[10, 10]])))


@dataclass(frozen=True)
class Normalised(Rate):
    """The normalised gradient's rate."""

    base_lr: float

    def init(self, params):
        return ()

    def __call__(self, state, observation):
        return self.base_lr / observation.grad_norm, state


def test_the_surrogate_finds_the_formula_of_a_rate_that_has_one_and_its_base_rate(monkeypatch):
    monkeypatch.setattr(feedback, "rates", lambda num_meta_seeds: [Normalised(1.0)])
    small = PART._replace(cells={"tiny": replace(PART.cells["task A"], hidden=(4,))})
    fitted = feedback.surrogate(small, 0.01)
    np.testing.assert_allclose(fitted.slopes, [0, -1, 0, 0], atol=1e-3)
    assert fitted.intercept == pytest.approx(np.log(0.01), abs=1e-2)
    by_hand = feedback.formulas(fitted).loc["normalised gradient"]
    np.testing.assert_allclose(by_hand, [*fitted.slopes, fitted.r_squared], atol=1e-3)


def test_the_formulas_stand_one_to_a_line():
    table = feedback.formulas(Surrogate(0.0, np.array([1.0, 2.0, 3.0, 4.0]), 0.5))
    expected = pd.DataFrame(
        [[1, 2, 3, 4, 0.5], [0, -1, 0, 0, 1], [1, -2, 0, 0, 1]],
        index=pd.Index([META, "normalised gradient", "Polyak step"]),
        columns=pd.Index(["log loss", "log |g|", "log |w|", "log t", "R²"]),
    )
    pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_controls_have_the_rules_own_weights_in_other_places_and_its_base_rate():
    methods = feedback.shuffled(PART).methods
    assert list(methods) == ["SGD", META, *CONTROLS]
    for rule, *dealt in zip(*(methods[label] for label in (META, *CONTROLS)), strict=True):
        for control in dealt:
            assert not torch.equal(control.rate.theta, rule.rate.theta)
            torch.testing.assert_close(control.rate.theta.sort().values, rule.rate.theta.sort().values)
            assert fingerprint(control.base) == fingerprint(rule.base) == fingerprint(methods["SGD"])


def test_ablations_are_the_shipped_rules_that_see_less_as_many_meta_seeds_as_are_asked_for():
    methods = feedback.ablations(PART).methods
    for label, file in TRAINED_WITHOUT.items():
        thetas = torch.stack([recipe.rate.theta for recipe in methods[label]])
        assert torch.equal(thetas, load_thetas(file)[0][:2])
    seen = {
        label: len(methods[label][0].rate.meta_optimizer.inputs) for label in (ALL_INPUTS, *TRAINED_WITHOUT)
    }
    assert seen[BLIND] == 1
    assert max(seen, key=lambda label: seen[label]) == ALL_INPUTS
