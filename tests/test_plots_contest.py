"""What the contest's figures show; tests of the other figures are in test_plots.py."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hand_made import held

from metalearn_lib import plots
from metalearn_lib.statistics import Interval

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_the_map_of_head_room_marks_each_cell_and_parts_the_groups():
    names = {"task A": "home", "scale 4": "geometric", "scale 16": "geometric"}
    room = {name: Interval(value, value / 2, value * 2) for value, name in enumerate(names, 1)}
    ax = plots.headroom_map({"SGD": room}, names)
    (marks,) = (line for line in ax.lines if line.get_marker() == "o")
    assert marks.get_xdata().tolist() == [1, 2, 3]
    first, second, third = marks.get_ydata()
    assert second - first > third - second  # another group, and the same one
    assert [text.get_text() for text in ax.get_yticklabels()] == list(names)
    (reach,) = ax.collections
    assert [segment[:, 0].tolist() for segment in reach.get_segments()] == [[0.5, 2], [1, 4], [1.5, 6]]


def test_a_profile_is_drawn_as_it_is_given():
    factors, curve = np.array([0.5, 1, 2]), np.array([0, 0.25, 1])
    ax = plots.profiles({"SGD": curve}, factors)
    np.testing.assert_array_equal(ax.lines[0].get_xydata(), np.stack([factors, curve], 1))
    assert ax.get_xscale() == "log"


def test_survival_falls_by_a_share_at_every_crossing_and_stays_where_runs_fail():
    cell = held({"task A": {"sgd": [40, 80, 100, 100]}}).results["task A"]
    ax = plots.survival(cell, ["sgd"])
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[0, 1], [10, 0.75], [20, 0.5], [25, 0.5]])


@pytest.mark.parametrize(("names", "hidden"), [(["task A"], 1), (["task A", "wine"], 0)])
def test_survival_of_several_cells_has_a_panel_for_each_and_no_empty_one(names, hidden):
    results = held({name: {"sgd": [40, 80], "adam": [20, 20]} for name in names}).results
    axes = plots.survivals(list(results.values()), ["sgd", "adam"])
    assert [ax.get_xlabel() for ax in axes.flat if ax.get_visible()] == [f"epochs, {name}" for name in names]
    assert sum(not ax.get_visible() for ax in axes.flat) == hidden
    (legend,) = axes[0, 0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sgd", "adam"]
