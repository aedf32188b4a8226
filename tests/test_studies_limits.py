from dataclasses import replace

import torch
from hand_made import held

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.evaluate.threshold import set_target
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates.constant import Constant
from metalearn_lib.studies import limits
from metalearn_lib.studies.shared import speedups
from metalearn_lib.types import Seeds

FEW = {
    "sgd": [40, 40],
    "sgd@B": [20, 20],
    "adam": [20, 20],
    "meta": [[20, 20]],
    "meta-multi": [[40, 40]],
    "meta-adam": [[20, 100]],
}
BAD = FEW | {"meta": [[80, 100]]}
CONTEST = held({"task A": FEW, "wine": BAD, "moons": {"sgd": [1, 1], "meta": [[1, 1]]}})
RESULTS, AGAINST = limits.judged(CONTEST), limits.against(CONTEST)
GAINS = speedups(RESULTS, AGAINST)


def test_judged_are_the_cells_in_which_learned_rates_meet_each_against_its_own_direction():
    assert list(RESULTS) == ["task A", "wine"]
    assert AGAINST == {"meta": "sgd", "meta-multi": "sgd", "meta-adam": "adam"}


def test_every_cell_is_counted_once():
    counts = limits.verdict_counts(GAINS)
    assert counts.loc["meta"].to_dict() == {"better": 1, "equivalent": 0, "inconclusive": 0, "worse": 1}
    assert counts.loc["meta-multi", "equivalent"] == 2
    assert set(counts.sum(axis=1)) == {2}


def test_harm_is_where_a_method_is_worse_than_its_baseline():
    harm = limits.harm(RESULTS, GAINS, AGAINST, "sgd", "sgd@B")
    assert list(harm.index) == [("meta", "wine")]
    assert harm.loc[("meta", "wine")].tolist()[1:] == ["50 %", "0 %", "2.00"]


def test_no_harm_is_an_empty_table():
    better = {"task A": RESULTS["task A"]}
    assert limits.harm(better, speedups(better, {"meta": "sgd"}), {"meta": "sgd"}, "sgd", "sgd@B").empty


def test_the_worst_run_is_the_instance_that_loses_most_and_its_sgd_the_very_run():
    cell, start = replace(read_registration().cells["wine"], horizon=4), read_registration().score_seeds.start
    part = CONTEST.registration._replace(cells={"wine": cell})
    worst = limits.worst_run(replace(CONTEST, registration=part), "wine", num_steps=3)
    second = Seeds("score", 1, start + 1)
    expected = InnerLoop(cell.learner, Constant(0.1), Gradient()).unroll(cell.draw(second, 3))[1]
    torch.testing.assert_close(worst.runs["SGD"].loss, expected.loss)
    assert worst.threshold == set_target(cell, second).threshold.item()
    assert worst.runs["meta-optimizer"].loss.shape == expected.loss.shape
    assert (worst.runs["meta-optimizer"].lr != 0.1).any()
