"""The tables of the page on the update per weight."""

import pytest
import torch
from hand_made import rows

from metalearn_lib.cards import load_theta
from metalearn_lib.directions.learned_update import INPUTS, LAW, LearnedUpdate, UpdateNetwork
from metalearn_lib.evaluate import by_cell
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.distilled import LINKS
from metalearn_lib.evaluate.methods import Method
from metalearn_lib.evaluate.overhead import step_cost
from metalearn_lib.evaluate.registration import SECOND, read_registration
from metalearn_lib.rates.constant import Constant
from metalearn_lib.studies import update
from metalearn_lib.studies.shared import file_of
from metalearn_lib.studies.update import RULERS, UPDATE

PART = read_registration().amend().part(["task A"], 2, 4, 2)
UNTRAINED = UpdateNetwork().init_theta(torch.Generator().manual_seed(0))
ADAM, ON_ADAM, ORACLE, AVERAGES = (contestant(name)[0] for name in RULERS)
STEPS = {ADAM: [80, 80], ON_ADAM: [[40, 40]], ORACLE: [40, 40], AVERAGES: [20, 20]}
STEPS |= dict(zip(LINKS, ([80, 80], [[40, 40]], [[20, 20]], [[10, 10]]), strict=True))
RESULTS = by_cell(rows({"task A": STEPS, "scale 4": STEPS | {UPDATE: [[40, 100]]}}))


def test_the_surface_of_an_untrained_update_is_adams_step_and_that_of_a_trained_one_is_odd():
    line, steps = update.surface(Method(LearnedUpdate(UNTRAINED), Constant(0.1)), 0.5, 7)
    torch.testing.assert_close(steps, line[:, None].expand(7, 7))
    theta = UNTRAINED + 0.2 * torch.randn(len(UNTRAINED), generator=torch.Generator().manual_seed(1))
    _, steps = update.surface(Method(LearnedUpdate(theta), Constant(0.1)), 0.5, 8)
    torch.testing.assert_close(steps, -steps.flip(0, 1))


def test_each_link_is_held_against_the_one_before():
    factors = update.links(RESULTS)["task A"]
    assert list(factors) == list(LINKS[1:])
    assert [each.value for each in factors.values()] == pytest.approx([2, 2, 2])


def test_all_are_held_against_adam_re_tuned_on_the_cell_and_failures_stand_beside():
    found = update.against(RESULTS)["task A"]
    expected = {ADAM: 0.5, ON_ADAM: 1, AVERAGES: 2, UPDATE: 4}
    assert {name: each.value for name, each in found.items()} == pytest.approx(expected)
    table = update.failures(RESULTS)
    assert table[UPDATE].tolist() == ["0.0", "50.0"]
    assert table[ADAM].tolist() == ["0.0", "0.0"]


def test_the_sentences_name_both_rulers_adam_at_the_same_rate_and_the_worst_cell():
    told = update.in_brief(RESULTS)
    assert "1.59 times as fast as Adam re-tuned on each" in told["update_sentence"]
    assert "0.80 times as fast as Adam with both averages re-tuned" in told["averages_sentence"]
    assert "3.18 times" in told["network_sentence"]
    assert told["worst_sentence"].startswith("It does worst on scale 4, 0.63")


def test_the_pages_instances_are_none_of_either_contests():
    ours = set(update.study(PART).score_seeds)
    for registration in (read_registration(), read_registration(SECOND)):
        assert not ours & set(registration.score_seeds)


def test_all_five_meta_seeds_are_there_and_carry_the_registration():
    assert [len(update.rules(num_meta_seeds=count)) for count in (1, 5)] == [1, 5]
    assert update.law().shape == (5, LAW)
    assert list(update.study(PART).methods) == [ADAM, ON_ADAM, ORACLE, AVERAGES, *LINKS]


def test_what_was_trained_otherwise_is_held_against_the_like_that_has_all_and_the_worst_comes_first():
    steps = {told: [[20, 20], [20, 20]] for told in update.ablations(PART).methods}
    assert list(steps) == list(update.OTHERWISE)
    table = update.worth(by_cell(rows({"task A": steps | {"no law": [[80, 80], [80, 80]]}})))
    assert table.index[0] == "no law"
    assert table.loc["no law", "over these cells"].startswith("0.25")
    assert table.loc["no network", "task A"].startswith("1.00")
    assert update.quoted(table)["update_no_law"].startswith("0.25")


@pytest.mark.parametrize("told", [told for told in update.OTHERWISE if told != update.THIRD])
def test_each_was_trained_as_the_like_that_has_all_but_for_one_setting(told):
    whole, other = (load_theta(file_of(update.OTHERWISE[name]))[1]["config"] for name in (update.THIRD, told))
    changed = {name for name in whole if whole[name] != other[name]} - {"seed"}
    assert len(changed) == 1 or changed == {"controller", "inputs"}
    assert whole == load_theta("update")[1]["config"] | {"outer_steps": 1000, "seed": whole["seed"]}


def test_a_formula_is_told_with_what_it_explains():
    fitted, table = update.formula(PART)
    assert table.shape == (2, INPUTS + 6 + 2)
    assert table["R²"].tolist() == pytest.approx(fitted.r_squared.tolist())
    assert (fitted.r_squared > 0).all()


def test_the_card_says_what_a_step_costs():
    _, card = load_theta("update")
    step = card["step"]
    assert step["multiply_adds"] == UpdateNetwork(card["config"]["hidden"]).multiply_adds == 64
    assert set(step["times_adam"]) == {"1000", "100000", "1000000"}
    assert card["registration"] == read_registration(SECOND).sha256


def test_a_step_costs_more_than_adams():
    costs = step_cost(LearnedUpdate(UNTRAINED), (100, 2500), rounds=1)
    assert set(costs) == {100, 2500}
    assert all(each > 1 for each in costs.values())
