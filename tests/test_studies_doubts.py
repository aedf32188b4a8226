import numpy as np
import pytest
import torch
from hand_made import drawn, held

from metalearn_lib.cards import load_theta, load_thetas
from metalearn_lib.directions.adam import Adam
from metalearn_lib.evaluate import Cell
from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.evaluate.threshold import REFERENCE_CADENCE, REFERENCE_RATES, draw_line, held_out_curve
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates.constant import Constant
from metalearn_lib.studies import doubts
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

FIVE = [[80, 80], [40, 40], [20, 20], [60, 60], [50, 50]]
FEW = {
    "sgd": [40, 40],
    "sgd@B": [20, 20],
    "adam": [20, 20],
    "adam@B": [20, 20],
    "meta": FIVE,
    "meta-multi": FIVE,
    "meta-adam": FIVE,
}
FAILS = FEW | {"sgd": [100, 100]}
CONTEST = held({"task A": FEW, "scale 4": FEW, "translate 4": FAILS})


def test_where_sgd_fails_the_cap_decides_and_what_is_left_is_told_beside():
    table = doubts.capped(CONTEST)
    assert list(table.index) == ["translate 4", *doubts.TOGETHER.values()]
    assert table.loc["translate 4", "SGD fails"] == "100%"
    without = CONTEST.results["scale 4"].speedup("meta", "sgd")
    assert table.loc[doubts.TOGETHER["rest"], "speed-up"] == str(without)
    numbers = doubts.capped_numbers(table)
    assert (numbers["num_capped"], numbers["uncapped_rest"]) == (1, str(without))
    nowhere = doubts.capped_numbers(doubts.capped(held({"task A": FEW})))
    assert nowhere == {"num_capped": 0, "uncapped_all": "–", "uncapped_rest": "–"}


def test_the_deployed_seed_is_the_one_that_ships_and_its_rank_counts_those_before_it():
    theta, thetas = load_theta("sgd")[0], load_thetas("sgd")[0]
    own = doubts.deployed_seed("sgd")
    assert torch.equal(thetas[own], theta)
    ranks = doubts.deployed_ranks(CONTEST)
    sooner = sum(np.mean(each) < np.mean(FIVE[own]) for each in FIVE)
    assert ranks.loc[("meta", "home"), "rank"] == f"{1 + sooner} of 5"
    assert ranks.loc[("meta", "home"), "least and most"] == "0.50 to 2.00"
    assert doubts.rank_numbers(ranks) == {
        "adam_real_rank": "–",
        "adam_real_deployed": "–",
        "adam_real_mean": "–",
    }


def test_a_claim_hangs_on_the_draw_where_one_rate_says_better_and_another_worse():
    cells = ("task A", "scale 4", "translate 4")
    table = doubts.by_choice(CONTEST)
    assert set(table["hangs on the draw"]) == {"no"}
    sgd = {0.75: {name: [100, 100] for name in cells}, 0.25: {name: [10, 10] for name in cells}}
    learned = {weight: {name: [[50, 50]] * 5 for name in cells} for weight in sgd}
    torn = drawn(CONTEST, "sgd", sgd)
    for method in ("meta", "meta-multi"):
        torn = drawn(torn, method, learned)
    torn = doubts.by_choice(torn, CONTEST)
    home = torn.loc[("meta-optimizer over SGD", "home")]
    assert home["hangs on the draw"] == "yes"
    assert home["at each rate, the likeliest first"] == "2.00 [2.00, 2.00], 0.20 [0.20, 0.20]"
    assert home["over all draws"] == f"{2**0.75 * 0.2**0.25:.2f} [0.20, 2.00]"
    assert home["at the registered one"] == str(CONTEST.results["task A"].speedup("meta", "sgd"))


def test_the_errata_hold_what_was_said_beside_what_is_so():
    said = held({"task A": FEW, "scale 4": FAILS, "translate 4": FAILS})
    table = doubts.said_and_so(CONTEST, said)
    assert table.loc["scale 4", "SGD fails, as said"] == "100%"
    assert table.loc["scale 4", "SGD fails, so"] == "0%"
    numbers = doubts.said_numbers(table)
    assert numbers["said_geometric"] == table.loc["geometric", "over SGD, as said"] != numbers["so_geometric"]
    assert numbers["so_real"] == "–"


def test_fresh_instances_are_new_and_a_claim_that_moved_is_told_apart():
    whole = read_registration().amend().held()
    study = doubts.fresh(whole)
    assert not set(study.score_seeds) & set(whole.score_seeds)
    assert [cell.name for cell in study.cells] == list(doubts.FRESH)
    again = {"task A": CONTEST.results["task A"], "scale 4": held({"scale 4": FAILS}).results["scale 4"]}
    table = doubts.held_up(CONTEST, {}, again)
    assert table.loc[("meta-optimizer over SGD", "task A"), "apart"] == "no"
    assert table.loc[("meta-optimizer over SGD", "scale 4"), "apart"] == "yes"


def test_a_tie_of_the_reference_moves_the_threshold_by_what_its_second_best_lacks():
    cell = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8,), batch_size=32, horizon=16)
    seeds = Seeds("tune", 6)
    table = doubts.reference_ties({"tiny": cell}, seeds)
    instances = cell.draw(seeds, 4 * cell.horizon)
    curves = torch.stack(
        [
            held_out_curve(InnerLoop(cell.learner, Constant(lr), Adam()), instances, REFERENCE_CADENCE)
            for lr in REFERENCE_RATES
        ]
    )
    prior, best, threshold = draw_line(curves, instances.test.target, cell.delta)
    moved = []
    for number, won in enumerate(curves.amin(2).argmin(0)):
        others = curves[[each for each in range(len(curves)) if each != int(won)], number : number + 1]
        target = instances.test.target[number : number + 1]
        line = draw_line(others, target, cell.delta)[2]
        moved.append(float((line - threshold[number]) / (prior[number] - best[number])))
    assert float(table.loc["tiny", "at most"]) == pytest.approx(max(moved), abs=1e-3)
    assert float(table.loc["tiny", "target loss moves by"]) == pytest.approx(np.median(moved), abs=1e-3)


def test_severities_say_where_in_the_mixtures_draw_a_cell_lies():
    table = doubts.severities(read_registration().held())
    assert table.loc["translate 2", "part of draws below"] == "0.50"
    assert table.loc["scale 16", "part of draws below"] == "–"
    assert table.loc["anisotropy 64", "severities that it draws"] == "1 to 64"
