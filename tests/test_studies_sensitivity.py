import numpy as np
import pytest
from hand_made import drawn, held, rows
from matplotlib.colors import to_rgba

from metalearn_lib import plots
from metalearn_lib.evaluate import Method, by_cell
from metalearn_lib.evaluate.registration import ALL_MEET, read_registration
from metalearn_lib.studies import sensitivity as edges

STUDY = edges.sensitivity(read_registration().held())
RUNS = {
    **{edges.at("SGD", decade): [40 * (1 + place), 40] for place, decade in enumerate(edges.decades("sgd"))},
    **{edges.at("meta-optimizer", decade): [20, 20] for decade in edges.decades("sgd")},
}
RESULTS = by_cell(rows({"task A": RUNS, "digits": RUNS}))
CONTEST = held({"task A": {"sgd": [40, 40], "meta": [[20, 20]]}})


def test_everyone_meets_at_every_rate_of_the_grid_in_the_cells_in_which_all_meet():
    assert [cell.name for cell in STUDY.cells] == list(ALL_MEET)
    rates = {name: recipe.rate for name, recipe in STUDY.methods.items() if isinstance(recipe, Method)}
    assert len(rates) == 2 * sum(map(len, edges.EIGHTHS.values()))
    assert rates["SGD at -0.125"].lr == rates["meta-optimizer at -0.125"].base_lr == pytest.approx(10**-0.125)
    assert rates["Adam at -1.375"].lr == rates["meta-optimizer on Adam at -1.375"].base_lr


def test_a_claim_is_the_speedup_at_each_rate_with_how_likely_tuning_is_to_give_it():
    torn = drawn(CONTEST, "sgd", {0.75: {"task A": [40, 40]}, 0.25: {"task A": [30, 30]}})
    claim = edges.claim(RESULTS, "sgd", torn, CONTEST)
    assert list(claim.cells) == ["task A", "digits"]
    assert claim.cells["task A"][0] == RESULTS["task A"].speedup("meta-optimizer at -1", "SGD at -1")
    assert claim.weights[claim.decades.index(0)] == 0.75
    assert claim.weights[claim.decades.index(-1)] == 0.25
    assert sum(claim.weights) == 1
    assert claim.registered == -1


def test_the_figure_has_a_curve_for_each_cell_and_a_bar_for_each_weight():
    claim = edges.claim(RESULTS, "sgd", CONTEST, CONTEST)
    axes = plots.sensitivity([claim])
    upper, lower = axes[:, 0]
    curve = next(line for line in upper.lines if line.get_label() == "task A")
    np.testing.assert_allclose(curve.get_ydata(), [each.value for each in claim.cells["task A"]])
    assert [bar.get_height() for bar in lower.patches] == claim.weights
    assert to_rgba(curve.get_color()) != to_rgba(upper.lines[1].get_color()) or len(claim.cells) == 1
