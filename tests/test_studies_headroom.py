import pytest
from hand_made import held

from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.studies import headroom

REGISTRATION = read_registration()
STUCK = {"sgd": [40, 40], "sgd@B": [10, 10], "adam": [20, 20], "adam@B": [20, 20]}
FREE = STUCK | {"sgd": [10, 10]}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("scale 2", "geometric"),
        ("label noise 0.1", "null"),
        ("embedding 16", "residual"),
        ("width 128", "set-up"),
        ("base rate x 10", "set-up"),
        ("digits, label noise 0.2", "real"),
        ("anisotropy 64, standardised", "geometric"),
        ("axis anisotropy 64", "map"),
    ],
)
def test_a_cell_stands_with_those_that_differ_from_task_a_in_the_same(name, kind):
    assert headroom.kinds(REGISTRATION)[name] == kind


def test_what_a_cell_is_called_says_nothing_of_where_it_stands():
    called = dict(zip(REGISTRATION.cells, map(str, range(99)), strict=False))
    renamed = REGISTRATION._replace(
        cells={called[name]: cell for name, cell in REGISTRATION.cells.items()},
        groups={called[name]: group for name, group in REGISTRATION.groups.items()},
    )
    kinds = headroom.kinds(renamed)
    assert {name: kinds[called[name]] for name in called} == headroom.kinds(REGISTRATION)


def test_cells_come_kind_by_kind():
    cells = ("task A", "scale 4", "wine", "moons", "scale 2")
    contest = held(dict.fromkeys(cells, STUCK))
    assert list(headroom.in_order(contest)) == ["task A", "scale 4", "scale 2", "wine", "moons"]


def test_head_room_is_what_re_tuning_gains_and_an_unexpected_one_is_told():
    contest = held({"task A": FREE, "scale 4": STUCK, "rotate 90": STUCK, "overlap 2": FREE})
    rooms = headroom.rooms(contest)
    assert rooms["SGD"]["scale 4"].value == pytest.approx(4)
    assert {each.value for each in rooms["Adam"].values()} == {1}
    numbers = headroom.numbers(rooms, contest.registration)
    assert (numbers["num_sgd"], numbers["num_adam"]) == (2, 0)
    assert (numbers["all_null"], numbers["num_null"]) == (2, 1)
    assert numbers["most_room"] == "4.00 [4.00, 4.00]"
    assert numbers["not_null"].endswith("have some: rotate 90 (4.00 [4.00, 4.00]).")


def test_where_all_is_as_registered_no_surprise_is_told():
    contest = held({"task A": FREE, "scale 4": STUCK})
    assert headroom.numbers(headroom.rooms(contest), contest.registration)["not_null"] == ""


def test_a_rate_has_moved_from_half_a_decade_on():
    lr = {("scale 4", "sgd@B"): 0.1 / 10**0.5, ("translate 2", "sgd@B"): 0.1 * 10**0.25}
    contest = held(dict.fromkeys(("task A", "scale 4", "translate 2"), STUCK), lr=lr)
    table = headroom.moved(contest, headroom.rooms(contest))
    assert list(table.index) == ["scale 4"]
    assert table.loc["scale 4"].tolist() == [
        *("0.0316", "0.316", "4.00 [4.00, 4.00]", "0 of 2", "0.50 [0.50, 0.50]"),
    ]
