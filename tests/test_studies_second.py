"""The tables that only the second contest's page has."""

import numpy as np
import pytest
from hand_made import rows

from metalearn_lib.evaluate.registration import SECOND, check_traps, read_registration
from metalearn_lib.studies import contest_tables as tables
from metalearn_lib.studies import second
from metalearn_lib.studies.contest import Contest, contest

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
        "At home and under geometric shift the learned update crosses 2.00 times"
    )
    assert "0.32 times as fast as Adam re-tuned on the cell" in told["new_sentence"]
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


def test_the_second_contest_is_held_whole_and_tuned_as_a_draw():
    assert (REGISTRATION.table, contest(REGISTRATION._replace(training={})).name) == ("second", "second")
    assert REGISTRATION.held() == REGISTRATION
    assert REGISTRATION.drawn
    assert set(REGISTRATION.all_meet) <= set(REGISTRATION.cells)
    for each in REGISTRATION.hypotheses:
        assert REGISTRATION.in_groups(*each.groups)
        assert {each.method, *each.baselines} <= set(REGISTRATION.methods)
    first = read_registration()
    seeds = [
        set(range(each.start, each.start + each.count))
        for each in (first.score_seeds, REGISTRATION.score_seeds)
    ]
    assert not seeds[0] & seeds[1]


def test_two_shifts_at_once_come_in_their_order():
    cell = REGISTRATION.cells["anisotropy 8, translate 2.5"]
    assert (cell.family.name, cell.family.severity) == ("translate", 2.5)
    assert (cell.family.family.name, cell.family.family.severity) == ("anisotropy", 8.0)


def test_a_margin_of_its_own_decides_what_is_better():
    from metalearn_lib.evaluate.verdicts import judge

    (half,) = [each for each in REGISTRATION.hypotheses if each.name == "U1"]
    assert half.margin == 2.0

    def verdict(margin):
        part = HELD.registration._replace(hypotheses=[half._replace(groups=["home"], margin=margin)])
        return judge(part, HELD.results, HELD.labels)["verdict"].iloc[0]

    assert verdict(3.0) == "refuted"  # it is 2.00, without any spread
    assert verdict(1.5) == "supported"


@pytest.mark.parametrize("won", [True, False])
def test_in_the_second_contest_the_oracle_must_be_seen_to_win(won, monkeypatch):
    steps = {
        name: STEPS | {"placebo": STEPS["sgd"]}
        for name in ("task A", "scale 9", "rotate 30, label noise 0.1")
    }
    steps["scale 9"]["sgd@B"] = [60, 60] if won else [80, 80]
    table = rows(steps)
    labels = {name: name for name in dict.fromkeys(table.method)}
    part = REGISTRATION.part(list(steps), 2, 2, 2)._replace(whole=True)
    if won:
        check_traps(part, table, labels)
    else:
        with pytest.raises(AssertionError, match=r"sgd@B on scale 9 is 1\.00"):
            check_traps(part, table, labels)
