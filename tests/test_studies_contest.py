import types

import pytest
from hand_made import held, rows

from metalearn_lib.evaluate import registration, store
from metalearn_lib.evaluate.registration import TrapSprung, contestants, read_registration
from metalearn_lib.statistics import Interval
from metalearn_lib.studies import contest as studies
from metalearn_lib.studies.contest import Contest, beside, hold
from metalearn_lib.studies.contest_tables import where_all_meet

TIMES = {"sgd": [40, 80], "meta": [[20, 40]]}
CONTEST = held({"task A": TIMES, "scale 4": TIMES, "wine": TIMES})
MINE = """
from metalearn_lib.rates.constant import Constant


class MyRate(Constant):
    label, rival = "mine", True


class Shadow(Constant):
    label, rival = "SGD", True
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A module of somebody else's, and answers kept apart."""
    (tmp_path / "somebodys_rules.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(store, "cache_folder", lambda: tmp_path)


def test_a_contest_gives_its_cells_by_their_groups():
    assert list(CONTEST.inside("home", "real")) == ["task A", "wine"]
    assert [cell.name for cell in CONTEST.geometric] == ["scale 4"]
    assert len(held({"task A": TIMES, "wine": TIMES}).geometric) == 2


def test_in_a_part_all_meet_everywhere_and_in_the_whole_in_the_cells_registered_for_it():
    assert CONTEST.all_meet == ["task A", "scale 4", "wine"]
    assert held({"task A": TIMES, "scale 4": TIMES, "wine": TIMES}, whole=True).all_meet == [
        "task A",
        "scale 4",
    ]


def test_a_part_has_no_others_and_no_rulers_beside_it():
    assert CONTEST.with_others() is CONTEST
    assert CONTEST.with_rulers() is CONTEST


def kept(monkeypatch, name, table):
    monkeypatch.setattr(studies, name, lambda _: types.SimpleNamespace(table=lambda workers: table))


def test_the_whole_takes_in_the_other_cells_and_adams_ruler(monkeypatch):
    whole = held({"task A": TIMES}, whole=True)
    kept(monkeypatch, "others", rows({"moons": TIMES}))
    kept(monkeypatch, "rulers", rows({"task A": {"adam@B": [10, 10]}}))
    whole = Contest(whole.registration, whole.table, whole.labels | {registration.PLACEBO: "placebo"})
    wider = whole.with_others()
    assert list(wider.results) == ["task A", "moons"]
    assert list(wider.inside("structure")) == ["moons"]
    assert wider.registration.cells["moons"].family.name == "moons"
    ruled = wider.with_rulers()
    assert ruled.results["task A"].outcomes["adam@B"].steps.tolist() == [10, 10]
    assert "adam@B" not in ruled.results["moons"].outcomes


def test_the_other_cells_spring_traps_too(monkeypatch):
    whole = held({"task A": TIMES}, whole=True)
    kept(monkeypatch, "others", rows({"moons": TIMES}).assign(threshold=3.0))
    with pytest.raises(TrapSprung, match="do not lie between reference and prior, first in moons"):
        whole.with_others()


@pytest.mark.usefixtures("outside")
def test_a_rule_from_outside_meets_the_others_where_those_meet_whom_no_hypothesis_names():
    whole = beside(read_registration().held(), ["somebodys_rules:MyRate"])
    meet, labels = contestants(whole)
    assert labels["somebodys_rules:MyRate"] == "mine"
    assert "mine" in meet(whole.cells["scale 4"])
    assert "mine" not in meet(whole.cells["scale 16"])
    assert whole.whole
    assert whole.hypotheses == read_registration().hypotheses


@pytest.mark.usefixtures("outside")
def test_a_constant_rate_from_outside_takes_the_very_steps_of_sgd():
    part = read_registration().part(["task A"], 2, 2, 1, ["sgd"])
    both = beside(part, ["somebodys_rules:MyRate"])
    contest = Contest(both, *hold(both, workers=1, progress=False))
    table = where_all_meet(contest)
    assert list(table.index) == ["SGD", "mine"]
    assert table.loc["mine", "task A"] == Interval(1, 1, 1)


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("polyak@mixture", "called 'Polyak step, tuned on the mixture' in tables, as is 'polyak@mixture'"),
        ("somebodys_rules:Shadow", "'somebodys_rules:Shadow' is called 'SGD' in tables, as is 'sgd'"),
        ("somebodys_rules:NoRate", "has no 'NoRate'; it has"),
        ("nobodys_rules:MyRate", "cannot be imported"),
    ],
)
def test_a_rule_that_cannot_be_told_from_another_or_is_not_there_is_refused(name, told):
    with pytest.raises(ValueError, match=told):
        beside(read_registration().held(), [name])


def test_beside_nobody_the_contest_is_as_it_was():
    assert beside(read_registration().held(), []) == read_registration().held()
