"""What the figures of meta-training show, read off their axes."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from metalearn_lib import plots

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_learning_curve_is_the_mean_of_meta_seeds_and_its_band_their_range():
    spent = np.array([100, 200, 300])
    ax = plots.learning_curves({"ES": (spent, np.array([[3.0, 2.0, 1.0], [1.0, 0.0, -1.0]]))})
    x, y = ax.lines[0].get_data()
    assert x.tolist() == spent.tolist()
    assert y.tolist() == [2, 1, 0]
    (band,) = ax.collections
    assert np.ptp(band.get_paths()[0].vertices[:, 1]) == pytest.approx(4)  # from 3 down to -1


def test_a_learning_curve_is_smoothed_over_a_twentieth_of_the_run_and_ends_where_the_run_does():
    losses = np.tile([1.0, 0.0], 20)[None]
    x, y = plots.learning_curves({"PES": (np.arange(40), losses)}).lines[0].get_data()
    assert x[[0, -1]].tolist() == [1, 39]
    assert y.tolist() == [0.5] * 39


def test_the_scatter_of_estimates_leaves_out_what_is_no_number_and_keeps_the_extremes():
    spread = {"ES": np.array([[1.0, 10.0], [np.nan, 100.0]]), "PES": np.array([np.inf, 0.0, 1000.0])}
    left, _ = plots.estimator_faults(spread, {})
    assert [text.get_text() for text in left.get_yticklabels()] == ["ES", "PES"]
    reach = np.concatenate([line.get_xdata() for line in left.lines])
    assert (reach.min(), reach.max()) == (0, 3)  # decades
    assert left.yaxis_inverted()


def test_cosines_lie_at_their_truncation_lengths():
    _, right = plots.estimator_faults({}, {"truncated backpropagation": {2: 0.25, 8: 0.5}})
    x, y = right.lines[0].get_data()
    assert (list(x), list(y)) == ([2, 8], [0.25, 0.5])
    assert right.get_xscale() == "log"


def test_every_meta_seed_is_a_dot_and_the_line_goes_through_the_means():
    ax = plots.by_number({1: [0.0, 1.0], 4: np.array([2.0, 4.0])}, "captured")
    *dots, line = ax.lines
    assert [sorted(each.get_ydata()) for each in dots] == [[0, 1], [2, 4]]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 4], [0.5, 3])
    assert (ax.get_ylabel(), list(ax.get_xticks())) == ("captured", [1, 4])
