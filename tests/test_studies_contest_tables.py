import numpy as np
import pandas as pd
import pytest
from hand_made import held

from metalearn_lib.cards import load_thetas
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.statistics import Interval
from metalearn_lib.studies import contest_costs, contest_robustness
from metalearn_lib.studies import contest_tables as tables
from metalearn_lib.studies.contest import DECADES, PER_DIRECTION, Contest, hold

FEW = {
    "sgd": [40, 80],
    "sgd@B": [20, 40],
    "adam": [30, 60],
    "meta": [[20, 40], [10, 20]],
    "meta-multi": [[40, 80]],
    "meta-adam": [[15, 30]],
}
SLOW = FEW | {"sgd": [80, 100], "meta": [[40, 100], [40, 100]]}
TWO = held({"task A": FEW, "scale 4": SLOW})


def test_a_part_judges_nothing_and_says_so_of_every_hypothesis():
    judged = tables.verdicts(TWO)
    assert list(judged.index) == [each.name for each in read_registration().hypotheses]
    assert set(judged["verdict"]) == {"not judged in this part"}
    assert tables.verdict_numbers(judged)["num_supported"] == 0


def test_the_whole_is_judged_from_its_registration_its_results_and_its_labels(monkeypatch):
    monkeypatch.setattr(tables, "judge", lambda *given: given)
    whole = held({"task A": FEW}, whole=True)
    assert tables.verdicts(whole) == (whole.registration, whole.results, whole.labels)


def test_what_is_quoted_of_verdicts_are_their_rows_and_how_many_there_are_of_each():
    row = {"against": "SGD", "speed-up": "2", "p": 0.1}
    judged = pd.DataFrame({"H1": row | {"verdict": "refuted"}, "H2": row | {"verdict": "refuted"}}).T
    assert tables.verdict_numbers(judged) == {
        **{"H1_verdict": "refuted", "H1_speedup": "2", "H1_against": "SGD"},
        **{"H2_verdict": "refuted", "H2_speedup": "2", "H2_against": "SGD"},
        **{"num_supported": 0, "num_refuted": 2, "num_undecided": 0},
    }


def test_rulers_are_listed_last_and_those_who_miss_a_cell_are_not_everywhere():
    assert tables.order(TWO) == ["sgd", "adam", "meta", "meta-multi", "meta-adam", "sgd@B"]
    some = held({"task A": FEW, "scale 4": {"sgd": [1, 2], "meta": [[1, 2]]}})
    assert tables.everywhere(some) == ["sgd", "meta"]


def test_over_a_group_of_one_cell_the_speedup_is_the_cells():
    table = tables.by_group(TWO)
    assert list(table) == ["home", "geometric"]
    assert table.loc["sgd", "home"] == Interval(1, 1, 1)
    assert table.loc["adam", "home"] == TWO.results["task A"].speedup("adam", "sgd")


def test_the_opening_pages_figure_has_a_row_for_each_group_that_is_there_and_its_numbers_are_of_geometric_cells():
    brief = tables.in_brief(TWO)
    assert {told: list(row) for told, row in brief.items()} == {
        "task A itself": ["meta", "adam", "meta-adam"],
        "inputs moved or stretched": ["meta", "adam", "meta-adam"],
    }
    moved = brief["inputs moved or stretched"]
    assert moved["adam"] == TWO.results["scale 4"].speedup("adam", "sgd")
    assert tables.brief_numbers(TWO) == {
        "shifted_meta": str(moved["meta"]),
        "shifted_adam": str(moved["adam"]),
    }


def test_where_all_meet_the_best_stands_first_and_cells_are_averaged_on_a_log_scale():
    table = tables.where_all_meet(TWO)
    assert table.index[0] == "meta-adam"
    values = [each.value for each in table["over these cells"]]
    assert values == sorted(values, reverse=True)
    both = table.loc["adam", "task A"].value * table.loc["adam", "scale 4"].value
    assert table.loc["adam", "over these cells"].value == pytest.approx(both**0.5)


def test_the_oracles_profile_is_a_step_at_its_own_time():
    everyone = {name: [10, 20] for name in tables.IN_FIGURES} | {"sgd@B": [10, 20], "meta": [[20, 100]]}
    curves = tables.profiles(held({"scale 4": everyone}), np.array([0.5, 1.0, 2.0, 10.0]))
    assert list(curves) == list(tables.IN_FIGURES)
    assert curves["sgd"].tolist() == [0, 1, 1, 1]
    assert curves["meta"].tolist() == [0, 0, 0.5, 0.5]  # the other never crosses


def test_failures_are_counted_by_group_and_against_sgd_in_geometric_cells():
    table = tables.failures(held({"task A": FEW, "scale 4": SLOW | {"meta": [[40, 60], [100, 60]]}}))
    assert table.loc["sgd", ["home", "geometric"]].tolist() == ["0.0", "50.0"]
    assert table.loc["meta", ["geometric", "diverged"]].tolist() == ["25.0", "0.0"]
    assert table.loc["meta", ["only SGD", "only it", "p"]].tolist() == [2, 1, "–"]
    assert table.loc["adam", ["only SGD", "only it", "p"]].tolist() == [1, 0, "1"]


def test_a_speedup_is_divided_by_what_a_step_costs():
    costs = {"sgd": 1.0, "meta": 2.0}
    own = TWO.results["scale 4"].speedup("meta", "sgd").value
    assert contest_costs.adjusted(TWO, costs) == pytest.approx({"sgd": 1.0, "meta": own / 2})


def test_meta_training_has_paid_for_itself_after_cost_over_saving_and_never_without_one():
    geometric = {"sgd": [80, 90], "adam": [10, 10], "meta": [[30, 40], [30, 40]]}
    ledger = contest_costs.ledger(held({"scale 4": geometric}), {"sgd": 1.0, "meta": 1.5})
    paid = load_thetas("sgd")[1]["gradient_evaluations_all_seeds"]
    assert ledger.loc["meta", "meta-training"] == f"{paid:,}"
    assert ledger.loc["meta", "break-even over SGD"] == f"{paid / 50:,.0f}"
    assert ledger.loc["meta", "break-even over Adam"] == "never"
    assert ledger.loc["adam", ["overhead", "adjusted", "meta-training"]].tolist() == ["–"] * 3
    assert ledger.loc["sgd", ["overhead", "adjusted", "tuning"]].tolist() == ["1.00", "1.00", "1,000"]


def test_a_step_is_timed_of_everyone_who_meets_but_packages_against_sgd():
    names = ["sgd", "momentum", "dog", "meta"]
    labels = {name: contestant(name)[0] for name in names}
    part = held({"task A": {labels[name]: [1, 2] for name in names}})
    contest = Contest(part.registration._replace(methods=names), part.table, labels)
    costs = contest_costs.step_costs(contest, num_steps=2)
    assert list(costs) == [labels[name] for name in ("sgd", "momentum", "meta")]
    assert costs["SGD"] == 1


def test_every_meta_seed_has_a_speedup_of_its_own_and_the_widest_cell_is_found():
    seeds = contest_robustness.by_meta_seed(TWO.results, "meta", "sgd")
    assert [each.value for each in seeds["task A"].values()] == pytest.approx([2, 4])
    assert contest_robustness.widest(seeds) == pytest.approx(
        {"widest_cell": "task A", "widest_low": 2.0, "widest_high": 4.0}
    )


def test_a_method_that_is_the_oracle_has_no_regret_and_captures_all():
    cell = {"sgd": [40, 80], "sgd@B": [20, 40], "meta": [20, 40]}
    table = contest_robustness.measures(held({"task A": cell}).results, "meta", "sgd", "sgd@B")
    assert table.loc["task A"].tolist() == [
        *["2.00 [2.00, 2.00]"] * 3,
        *["1.00 [1.00, 1.00]"] * 3,
    ]


def test_where_nothing_can_be_captured_stands_a_dash():
    cell = {"sgd": [40, 80], "sgd@B": [40, 80], "meta": [20, 40]}
    table = contest_robustness.measures(held({"task A": cell}).results, "meta", "sgd", "sgd@B")
    assert table.loc["task A", "captured"] == "–"


def test_thresholds_stand_from_the_strictest_to_the_loosest():
    elsewhere = held({"scale 4": SLOW}).results["scale 4"], held({"task A": FEW}).results["task A"]
    places = ("task A, a twentieth left", "task A, a quarter left")
    table = contest_robustness.at_thresholds(TWO, dict(zip(places, elsewhere, strict=True)), ["task A"])
    assert list(table.columns.levels[0][table.columns.codes[0]][::3]) == [
        "a twentieth left",
        "a tenth left",
        "a quarter left",
    ]
    row = table.loc["task A"]
    assert row["a tenth left", "head-room"] == row["a quarter left", "head-room"] == "2.00"
    assert row["a twentieth left", "meta over SGD"] == str(elsewhere[0].speedup("meta", "sgd"))


def test_each_rule_is_held_against_its_own_direction():
    names = {"momentum@B", *(name for pair in PER_DIRECTION.values() for name in pair)}
    steps = {contestant(name)[0]: [8, 8] for name in names}
    steps[contestant("meta-momentum")[0]] = [2, 2]
    steps[contestant("momentum@B")[0]] = [4, 4]
    row = contest_robustness.per_direction(held({"task A": steps}).results).loc["task A"]
    assert row["head-room of momentum"] == "2.00"
    assert row["on momentum"].startswith("4.00")
    assert row["one for all, on Adam"].startswith("1.00")


def test_beyond_are_the_cells_in_which_the_learned_rate_meets():
    cells = held({"moons": FEW, "scale 2": {"sgd": [1, 2]}})
    table = contest_robustness.beyond(Contest(cells.registration, cells.table, TWO.labels), cells.results)
    assert list(table.index) == ["moons"]
    assert table.loc["moons", ["group", "SGD fails", "meta fails"]].tolist() == ["structure", "0 %", "0 %"]
    assert table.loc["moons", "head-room"] == "2.00 [2.00, 2.00]"


def test_the_least_and_the_greatest_speedup_are_quoted_with_their_cells():
    met = {"a": Interval(1, 1, 1), "b": Interval(3, 2, 4), "c": Interval(2, 1, 3)}
    assert contest_robustness.extremes(met) == {
        "least_cell": "a",
        "least_speedup": "1.00 [1.00, 1.00]",
        "most_cell": "b",
        "most_speedup": "3.00 [2.00, 4.00]",
    }


def test_a_tier_is_all_its_cells_and_one_without_cells_is_left_out():
    table = contest_robustness.by_tier(held({"task A": FEW, "scale 4": FEW, "translate 2": FEW}))
    assert list(table.index) == ["T0: new instances of A", "T1: trained shift, trained severities"]
    assert table["cells"].tolist() == [1, 2]
    assert set(table["verdict"]) == {"equivalent"}
    assert set(table["verdict on Adam"]) == {"better"}


def test_where_all_cells_agree_a_new_one_does_too_and_two_cells_say_nothing():
    three = held(dict.fromkeys(("translate 2", "scale 4", "anisotropy 16"), FEW))
    row = contest_robustness.a_new_cell(three).loc["meta-optimizer on Adam over Adam"]
    assert row["a new cell"] == row["mean"] == "2.00 [2.00, 2.00]"
    assert contest_robustness.a_new_cell(TWO).empty


def test_trials_never_help_where_every_rate_is_slower_and_none_is_needed_where_the_first_is_sooner():
    def tried(first, rest):
        return held({"task A": {f"{decade:g}": rest if decade else first for decade in DECADES}}).results

    results = held({"task A": {"meta": [[20, 20]]}}).results
    assert set(contest_costs.overtaken(tried([90, 90], [90, 90]), results, "meta").loc["task A"]) == {"never"}
    assert set(contest_costs.overtaken(tried([10, 10], [90, 90]), results, "meta").loc["task A"]) == {"0"}


def test_verdicts_stand_beside_what_was_expected_of_them():
    whole = read_registration().amend()
    row = {"claim": "c", "prior": "likely", "speed-up": "2", "verdict": "refuted"}
    now = pd.DataFrame({each.name: row for each in whole.hypotheses}).T
    table = tables.with_expected(Contest(whole, TWO.table, TWO.labels), now)
    assert list(table) == ["claim", "prior", "we expected", "speed-up", "verdict"]
    assert table["we expected"].to_dict() == {name: whole.amendment.expected[name] for name in now.index}
    assert set(tables.with_expected(TWO, now)["we expected"]) == {"–"}


def test_claims_are_held_against_every_ruler_that_met():
    table = tables.against_rulers(TWO)
    assert list(table.index) == [(m, f"over {r}") for m in ("meta", "meta-adam") for r in ("sgd@B", "adam")]
    expected = str(TWO.results["scale 4"].speedup("meta", "sgd@B"))
    assert table.loc[("meta", "over sgd@B"), "scale 4"] == expected
    assert tables.ruler_numbers(table, TWO) == {"over_averages": "–"}


def test_tunings_are_told_with_their_weights_from_what_was_prepared():
    part = read_registration().amend().part(["wine"], 2, 8, 1, ["sgd", "sgd@mixture"])
    part = part._replace(methods=["sgd"])
    contest = Contest(part, *hold(part, workers=1, progress=False))
    told = tables.tunings(contest)
    assert list(told.index) == ["SGD"]
    rows = contest.table[contest.table.method == "SGD"].groupby("choice").first()
    shown = ", ".join(
        f"{lr:.3g} ({weight:.0%})" for lr, weight in zip(rows["lr"], rows["weight"], strict=True)
    )
    assert told.loc["SGD", "rates, and how likely each is"] == shown
    assert told.loc["SGD", "as registered"] == "–"
    assert float(told.loc["SGD", "one-standard-error choice"]) <= float(f"{rows['lr'].max():.3g}")
