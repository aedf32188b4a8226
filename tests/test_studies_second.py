"""The tables that only the second contest's page has."""

from dataclasses import replace

import numpy as np
from hand_made import rows

from metalearn_lib.evaluate.registration import SECOND, read_registration
from metalearn_lib.studies import contest_tables as tables
from metalearn_lib.studies import second
from metalearn_lib.studies.contest import Contest

REGISTRATION = read_registration(SECOND)
STEPS = {
    "sgd": [80, 80],
    "sgd@B": [60, 60],
    "adam": [40, 40],
    "adam@B": [20, 20],
    "adam_averages@B": [10, 10],
    "meta": [[40, 40]],
    "meta-adam": [[40, 40]],
    "meta-update": [[10, 10], [10, 10]],
}
LATE = STEPS | {"meta-update": [[40, 100], [40, 100]], "adam": [100, 40]}
CELLS = {"task A": STEPS, "scale 9": STEPS, "rings": LATE, "base rate / 100": STEPS | {"adam": [80, 80]}}


def held(steps):
    table = rows(steps)
    methods = list(dict.fromkeys(table.method))
    part = REGISTRATION.part(list(steps), 2, 2, 2)._replace(methods=methods)
    return Contest(part, table, {name: name for name in methods})


HELD = held(CELLS)


def test_a_goal_is_told_as_a_part_of_the_rulers_time_with_the_worst_cell():
    table = second.goals(HELD)
    assert table.loc["home and geometric", "is"].startswith("0.50")
    assert table.loc["home and geometric, averages re-tuned", "is"].startswith("1.00")
    elsewhere = table.loc["families, set-ups and real data never met"]
    assert elsewhere["worst cell"].startswith("rings, 3.16")
    assert elsewhere["meant to be"] == "0.85"


def test_headroom_is_over_adam_tuned_on_a_and_failures_stand_beside_it():
    table = second.headroom(HELD)
    assert table.loc["task A", ["adam@B", "adam_averages@B", "meta-update"]].str[:4].tolist() == [
        "2.00",
        "4.00",
        "4.00",
    ]
    assert table.loc["rings", ["adam fails", "meta-update fails"]].tolist() == ["50 %", "50 %"]
    assert table.loc["task A", "meta-update fails"] == "0 %"


def test_what_a_wrong_base_rate_costs_is_told_against_task_a_and_not_without_it():
    table = second.mis_set(HELD)
    assert table.loc["adam", "base rate / 100"].startswith("2.00")
    assert table.loc["meta-update", "base rate / 100"].startswith("1.00")
    assert not len(second.mis_set(held({"rings": LATE})))


def test_the_sentences_say_how_the_update_does_at_home_and_elsewhere():
    told = second.in_brief(HELD)
    assert told["home_sentence"].startswith(
        "At home and under geometric shift the learned update is 2.00 times"
    )
    assert "0.32 times as fast as Adam re-tuned on the setting" in told["new_sentence"]
    assert told["worst_sentence"].startswith("The update is worst on rings, 0.32")
    assert second.in_brief(held({"task A": STEPS}))["new_sentence"] == ""


def test_on_the_clock_of_processor_time_a_step_twice_as_dear_counts_twice():
    factors = np.array([0.6, 1.1])
    plain, timed = (
        tables.profiles(HELD, factors, ("adam", "adam@B", "meta-update"), "adam@B", costs)
        for costs in (None, {"adam@B": 1.0, "meta-update": 2.0})
    )
    assert plain["meta-update"].tolist() == [1.0, 1.0]
    assert timed["meta-update"].tolist() == [0.0, 1.0]
    assert list(timed) == ["adam@B", "meta-update"]


def test_a_cell_that_a_trap_set_aside_judges_nothing_and_is_shown():
    steps = {"rings": STEPS, "MNIST": STEPS, "wine, natural split": LATE}
    whole = held(steps)
    whole = replace(whole, registration=whole.registration._replace(whole=True))
    assert list(whole.judged.results) == ["rings", "MNIST"]
    line = second.set_aside(whole).loc["wine, natural split"]
    assert line.to_dict() == {
        "sgd reaches it on": "100 %",
        "meta-update reaches it on": "50 %",
        "adam@B reaches it on": "100 %",
        "meta-update over adam@B": "0.32 [0.20, 0.50]",
    }
    part = held(steps)
    assert part.judged is part
    assert second.set_aside(part).empty


def test_the_sentences_name_the_best_direction_where_the_update_meets_them():
    soap, muon = {"soap@mixture": [5, 5]}, {"muon@mixture": [20, 20]}
    told = second.in_brief(held({"task A": STEPS | soap | muon, "scale 9": STEPS | soap}))
    assert told["rival_sentence"].startswith("There it is 0.50 times as fast as soap@mixture, the best")
    assert second.in_brief(HELD)["rival_sentence"] == ""


def test_by_the_clock_of_processor_time_a_claim_is_judged_by_what_steps_cost_and_not_without():
    steps = {name: STEPS for name in REGISTRATION.in_groups("home", "geometric")}
    claims = [each for each in REGISTRATION.hypotheses if each.name in ("U1", "U7")]
    whole = replace(held(steps), registration=REGISTRATION._replace(hypotheses=claims))
    clocks = {"as dear": {"adam@B": 1.0, "meta-update": 1.0}, "dear": {"adam@B": 1.0, "meta-update": 4.0}}
    told = second.by_clock(whole, clocks | {"none": {}})
    assert told.loc["U7"].str[:9].tolist() == ["4.00 [4.0", "not timed", "not timed"]
    assert told.loc["U1"].str[:4].tolist() == ["2.00", "2.00", "0.50"]
    assert told.loc["U1", "dear"].endswith("refuted")
    assert second.home_speedup(whole, clocks["dear"])[:4] == "0.50"
    assert second.home_speedup(whole, {}) == "–"
