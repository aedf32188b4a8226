import asyncio
import io
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from metalearn_lib import plots, widgets
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.evaluate import ORACLE, CellResult, Outcome
from metalearn_lib.evaluate.contestants import LEARNED, contestant, rivals
from metalearn_lib.gradient_estimators import ESTIMATORS
from metalearn_lib.learned_lr import Step
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.statistics import Interval
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Info, Seeds

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize(("low", "high", "told"), [(0.7, 1.5, "0.8 1 1.2 1.5"), (0.3, 3.0, "0.5 1 2")])
def test_a_logarithmic_axis_says_more_than_one_number_however_short_it_is(low, high, told):
    ax = plots.speedups({"task A": {"Adam": Interval(1.0, low, high)}})
    ax.figure.canvas.draw()
    left, right = ax.get_xlim()
    shown = [text for text in ax.get_xticklabels() if left < text.get_position()[0] < right]
    assert [text.get_text() for text in shown] == told.split()


def test_a_speedup_is_drawn_where_it_is_and_with_its_interval():
    ax = plots.speedups({"task A": {"Adam": Interval(2.0, 1.5, 2.5)}})
    mark, *_ = (line for line in ax.lines if line.get_label() == "_nolegend_" or line.get_marker() == "o")
    assert mark.get_xdata()[0] == 2.0
    (reach,) = ax.collections[0].get_segments()
    assert reach[:, 0].tolist() == pytest.approx([1.5, 2.5])
    assert ax.get_xscale() == "log"


def test_crossings_end_at_the_share_that_crossed():
    outcome = Outcome(np.array([8.0, 16.0, 80.0]), np.array([True, True, False]), np.ones(3, bool))
    ax = plots.crossings(CellResult("tiny", 80, 8.0, {"SGD": outcome, ORACLE: outcome}))
    x, y = ax.lines[0].get_data()
    assert (x[-1], y[-1]) == (10, pytest.approx(2 / 3))
    assert x[1:3].tolist() == [1, 2]


def test_every_rule_has_a_colour_of_its_own_and_it_is_the_one_that_its_class_says():
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
    assert {kind.label for kind in rivals().values()} <= set(plots.COLOURS)
    assert {plots.COLOURS[kind.label] for kind in (Gradient, Momentum, Adam)} == {
        "#0072B2",
        "#009E73",
        "#E69F00",
    }
    assert {"meta-optimizer", ORACLE} <= set(plots.COLOURS)
    assert [plots.ESTIMATOR_COLOURS[kind.label] for kind in ESTIMATORS.values()] == [
        kind.colour for kind in ESTIMATORS.values()
    ]


def test_every_contestant_has_a_colour_of_its_own_wherever_it_is_tuned():
    names = [*(rule + place for rule in rivals() for place in ("", "@mixture", "@B")), *LEARNED]
    colours = {label: plots.COLOURS[label] for label, _ in map(contestant, names)}
    assert len(set(colours.values())) == len(colours) == len(names)


def test_a_rule_without_a_colour_gets_a_free_one_that_stays_and_what_is_no_rule_gets_none():
    class Unpainted(Momentum):
        label = "unpainted"

    class Painted(Momentum):
        label, colour = "painted", "#123456"

    assert plots.COLOURS["painted"] == "#123456"
    free = plots.COLOURS["unpainted"]
    assert free == plots.COLOURS["unpainted"]
    assert free not in {plots.COLOURS[label] for label in plots.COLOURS}
    assert plots.COLOURS["unpainted re-tuned on B"] not in (free, plots.COLOURS[ORACLE])
    assert plots.COLOURS.get("meta-seed 3") is None
    ax = plots.crossings(CellResult("x", 8, 1.0, {"unpainted": Outcome(*(np.ones(2, bool),) * 3)}))
    assert mpl.colors.to_hex(ax.lines[0].get_color()) == free.lower()


def test_a_diverged_run_is_drawn_all_the_same():
    loss = torch.tensor([[1.0, torch.inf, torch.nan]])
    axes = plots.training({"SGD": Info(loss, loss, loss, torch.ones(1, 3))}, threshold=0.5)
    axes[0, 0].figure.savefig("/dev/null", format="svg")
    assert len(axes[0, 0].lines) == 2


def test_points_of_each_class_are_drawn_apart():
    task = GaussianMixture(num_points=50, num_test=1).stack(Seeds("demo", 1))
    ax = plots.points(task.x[0], task.y[0])
    assert sum(len(line.get_xdata()) for line in ax.lines) == 50


def test_a_chain_has_a_panel_for_each_cell_and_a_bar_from_1_to_each_factor():
    links = {"first": Interval(2.0, 1.5, 2.5), "second": Interval(0.5, 0.4, 0.6)}
    axes = plots.chain({"task A": links, "scale 4": links, "digits": links})
    shown = [ax for ax in axes.flat if ax.get_visible()]
    assert [ax.get_xlabel() for ax in shown] == ["task A", "scale 4", "digits"]
    assert [text.get_text() for text in shown[0].get_yticklabels()] == list(links)
    for ax in shown:
        bars = [list(line.get_xdata()) for line in ax.lines if line.get_linewidth() == 6]
        reach = [list(line.get_xdata()) for line in ax.lines if line.get_linewidth() == 1.5]
        assert (bars, reach) == ([[1, 2], [1, 0.5]], [[1.5, 2.5], [0.4, 0.6]])


def test_paths_of_rates_are_drawn_from_the_first_step_on_and_told_apart():
    paths = {"falls": torch.tensor([0.1, 0.01]), "stays": torch.tensor([0.1, 0.1])}
    ax = plots.rate_paths(paths)
    for line, (name, path) in zip(ax.lines, paths.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xydata(), np.stack([[1, 2], path.numpy()], 1))
    assert len({line.get_linestyle() for line in ax.lines}) == 2
    assert ax.get_yscale() == "log"


def test_what_a_rule_did_to_an_optimizer_is_drawn_with_a_mark_where_the_guard_acted():
    facts = [(2.0, 1.0, ""), (1.0, 8.0, ""), (0.5, 2.0, "rising loss"), (0.25, 1.0, "rising loss")]
    history = [Step(n, loss, 1.0, 1.0, factor, did) for n, (loss, factor, did) in enumerate(facts, start=1)]
    above, below = plots.watched(history)
    assert above.get_lines()[0].get_xydata().tolist() == [[1, 2], [2, 1], [3, 0.5], [4, 0.25]]
    curve, marks = below.get_lines()[:2]
    assert curve.get_ydata().tolist() == [1, 8, 2, 1]
    assert marks.get_xydata().tolist() == [[3, 2], [4, 1]]
    assert marks.get_label() == "guard: rising loss"
    assert above.get_yscale() == "log"
    negative = plots.watched([each._replace(loss=-each.loss, guarded="") for each in history])
    assert negative[0].get_yscale() == "linear"
    assert negative[1].get_legend() is None


def test_tasks_are_drawn_side_by_side_each_under_its_name():
    home = GaussianMixture(num_points=50, num_test=1)
    samples = {"task A": home, "scale 4": SHIFTS["scale"](home, 4.0)}
    axes = plots.tasks({name: family.stack(Seeds("demo", 1)) for name, family in samples.items()})
    assert [ax.get_xlabel() for ax in axes] == ["first feature, task A", "first feature, scale 4"]
    far, near = (max(np.abs(line.get_xdata()).max() for line in ax.lines) for ax in axes[::-1])
    assert far == pytest.approx(4 * near)


def svg(figure) -> bytes:
    image = io.BytesIO()
    figure.savefig(image, format="svg")
    return image.getvalue()


def test_the_same_figure_has_the_same_bytes():
    plots.use_style()
    path = torch.linspace(1, 2, 5)
    first, again = (svg(plots.rate_paths({"a": path}).figure) for _ in range(2))
    assert first.split(b"</metadata>")[1] == again.split(b"</metadata>")[1]


def test_a_change_is_drawn_at_once_and_what_changes_while_the_kernel_is_busy_once():
    drawn = []

    async def drag():
        changed = widgets.latest(lambda: drawn.append("drawn"), pause=0.3)
        changed(None)
        assert len(drawn) == 1
        for _ in range(5):
            changed(None)
        assert len(drawn) == 1
        await asyncio.sleep(0.8)
        assert len(drawn) == 2
        changed(None)

    asyncio.run(drag())
    assert len(drawn) == 3


def test_the_core_imports_nothing_that_draws_shows_or_builds():
    core = "evaluate meta_train gradient_estimators inner_loop fused cards meta_optimizer inputs rates directions"
    below = "monitor learners shifts tasks trees statistics types files cores registry fingerprints progress"
    names = [f"metalearn_lib.{name}" for name in f"{core} {below}".split()]
    edge = ["matplotlib", "IPython", "ipywidgets", "sphinx", "papermill"]
    program = f"import {', '.join(names)}, sys; print([name for name in {edge} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
