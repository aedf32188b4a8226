"""The tables of the page on the update per weight."""

import pytest
import torch
from hand_made import rows

from metalearn_lib.directions.learned_update import INPUTS, LAW, LearnedUpdate, UpdateNetwork
from metalearn_lib.evaluate import by_cell
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.distilled import LINKS
from metalearn_lib.evaluate.methods import Method
from metalearn_lib.evaluate.overhead import step_cost
from metalearn_lib.evaluate.registration import SECOND, read_registration
from metalearn_lib.rates.constant import Constant
from metalearn_lib.studies import update
from metalearn_lib.studies.update import MINIBATCH, THIRD, TRAINED_WITHOUT, WHOLE

PART = read_registration(SECOND).part(["task A"], 2, 4, 2)
UNTRAINED = UpdateNetwork().init_theta(torch.Generator().manual_seed(0))


def test_the_surface_of_an_untrained_update_is_adams_step_and_that_of_a_trained_one_is_odd():
    line, steps = update.surface(Method(LearnedUpdate(UNTRAINED), Constant(0.1)), 0.5, 7)
    torch.testing.assert_close(steps, line[:, None].expand(7, 7))
    theta = UNTRAINED + 0.2 * torch.randn(len(UNTRAINED), generator=torch.Generator().manual_seed(1))
    _, steps = update.surface(Method(LearnedUpdate(theta), Constant(0.1)), 0.5, 8)
    torch.testing.assert_close(steps, -steps.flip(0, 1))
    assert not torch.allclose(steps, line.new_tensor(0.0))


def test_each_link_is_held_against_the_one_before():
    steps = dict(zip(LINKS, ([80, 80], [[40, 40]], [[20, 20]], [[10, 10]]), strict=True))
    factors = update.links(by_cell(rows({"task A": steps})))["task A"]
    assert list(factors) == list(LINKS[1:])
    assert [each.value for each in factors.values()] == pytest.approx([2, 2, 2])


def test_what_a_part_is_worth_is_told_over_the_like_that_has_all():
    adam = contestant("adam@B")[0]
    steps = {adam: [40, 40], WHOLE: [[10, 10]], THIRD: [[20, 20]]}
    steps |= {label: [[20, 20]] for label in TRAINED_WITHOUT} | {MINIBATCH: [[80, 80]]}
    results = by_cell(rows({"task A": steps}))
    table = update.worth(results)
    column = table["over these cells"].str[:4]
    assert column[f"{WHOLE}, over {adam}"] == "4.00"
    assert column[f"{THIRD}, over {adam}"] == "2.00"
    assert column[f"{MINIBATCH}, over that"] == "0.25"
    assert column["no law, over that"] == "1.00"
    chain = dict(zip(LINKS, ([80, 80], [[40, 40]], [[20, 20]], [[10, 10]]), strict=True))
    told = update.in_brief(results, by_cell(rows({"task A": chain})))
    assert "4.00 times as fast as Adam re-tuned on each" in told["update_sentence"]
    assert "8.00 times" in told["network_sentence"]
    assert "0.25 times as fast as rewarded by held-out loss" in told["reward_sentence"]


def test_the_pages_instances_are_none_of_the_contests():
    ours, theirs = update.fresh(PART).score_seeds, PART.score_seeds
    assert len(ours) == len(theirs)
    assert not set(ours) & set(theirs)


def test_everyone_on_the_page_is_there():
    assert [len(update.rules(num_meta_seeds=count)) for count in (1, 5)] == [1, 5]
    assert len(update.law()) == 5
    for name in TRAINED_WITHOUT.values():
        assert update.rules(f"meta-update:{name}")
    study = update.ablations(PART)
    assert list(study.methods) == [contestant("adam@B")[0], WHOLE, THIRD, *TRAINED_WITHOUT]


def test_the_law_of_the_update_without_one_is_nought_and_its_network_of_the_one_without():
    (no_law,), (no_network,) = (update.rules(f"meta-update:update_no_{part}") for part in ("law", "network"))
    assert not no_law.direction.theta[-LAW:].any()
    inputs = torch.randn(1, INPUTS, 9)
    assert not torch.stack(UpdateNetwork()(no_network.direction.theta[None], inputs)).any()
    assert no_network.direction.theta[-LAW:].any()


def test_a_formula_is_told_with_what_it_explains():
    fitted, table = update.formula(PART)
    assert table.shape == (2, INPUTS + 6 + 2)
    assert table["R²"].tolist() == pytest.approx(fitted.r_squared.tolist())
    assert (fitted.r_squared > 0).all()


def test_a_step_costs_more_than_adams_and_no_more_by_the_weight_on_a_larger_network():
    costs = step_cost(LearnedUpdate(UNTRAINED), (100, 2500), rounds=1)
    assert set(costs) == {100, 2500}
    assert all(each > 1 for each in costs.values())
    assert UpdateNetwork(8).multiply_adds == 64
