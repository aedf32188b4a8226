"""The live training loop of one's own: what it computes, what it draws, and its controls."""

import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from metalearn_lib import plots, widgets
from metalearn_lib.studies import own_loop

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.mark.parametrize("optimizer", own_loop.OPTIMIZERS)
def test_without_authority_both_runs_are_one_bit_for_bit_and_with_it_they_part(optimizer):
    runs = own_loop.train(optimizer, 0.05, authority=0.0, num_steps=5)
    assert runs["bare"] == runs["with LearnedLR"]
    runs = own_loop.train(optimizer, 0.05, num_steps=5)
    assert runs["bare"].loss[0] == runs["with LearnedLR"].loss[0]
    assert runs["bare"].lr == [0.05] * 5 != runs["with LearnedLR"].lr


def test_a_rate_a_hundred_times_too_large_is_put_right():
    runs = own_loop.train("SGD", 10.0)
    assert runs["with LearnedLR"].held_out < 0.5 * runs["bare"].held_out
    said = own_loop.told(
        {"bare": runs["bare"]._replace(held_out=float("inf")), "b": runs["bare"]._replace(held_out=0.25)}
    )
    assert said == "held-out loss: bare diverged, b 0.25"
    with pytest.raises(ValueError, match="optimizer='Lion' is unknown; use one of SGD, momentum, AdamW"):
        own_loop.train("Lion")


def test_the_cost_of_a_step_is_told_by_optimizer_and_number_of_weights():
    costs = own_loop.step_cost(widths=(4, 8), batch_size=2, rounds=2)
    assert list(costs) == list(own_loop.OPTIMIZERS)
    assert all(list(each) == [32 * 4 + 4 + 2 * 20 + 50, 32 * 8 + 8 + 2 * 72 + 90] for each in costs.values())
    assert all(math.isfinite(ratio) and ratio > 0 for each in costs.values() for ratio in each.values())


def test_loss_and_rate_are_drawn_step_by_step():
    runs = own_loop.train(num_steps=4)
    for ax, field in zip(plots.own_loop(runs), ("loss", "lr"), strict=True):
        for line, run in zip(ax.lines, runs.values(), strict=True):
            assert line.get_xdata().tolist() == [1, 2, 3, 4]
            assert line.get_ydata().tolist() == getattr(run, field)
    assert ElementTree.fromstring(plots.own_loop_svg(runs)).tag.endswith("svg")


def test_a_slider_trains_again_at_its_rate():
    box = widgets.own_loop_sliders(lr=0.1, num_steps=5)
    optimizer, rate, authority, said, picture = box.children
    seen = {(said.value, picture.value)}
    rate.value = 1.0
    assert said.value == own_loop.told(own_loop.train("SGD", 1.0, num_steps=5))
    seen.add((said.value, picture.value))
    authority.value = 0.5
    assert said.value == own_loop.told(own_loop.train("SGD", 1.0, 0.5, num_steps=5))
    seen.add((said.value, picture.value))
    optimizer.value = "AdamW"
    seen.add((said.value, picture.value))
    assert len(seen) == 4


def test_a_rescue_is_drawn_problem_by_problem_with_the_geometric_mean_thick():
    bare = pd.DataFrame({0.1: [4.0, 1.0], 1.0: [1.0, 1.0]}, index=["a", "b"])
    learned = pd.DataFrame({0.1: [1.0, 1000.0], 1.0: [1.0, 1.2]}, index=["a", "b"])
    (ax,) = plots.rescue({"SGD": (bare, learned)})
    drawn = [list(line.get_ydata()) for line in ax.lines]
    assert drawn[:2] == [[4, 1], [1, 1]]
    assert drawn[2] == pytest.approx([2, 1])
    assert drawn[4] == [30, 1.2]  # as far as the figure goes
    assert drawn[5] == pytest.approx([30**0.5, 1.2**0.5])
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == [
        "the rate as it is set",
        "with LearnedLR",
    ]


def test_a_profile_of_times_steps_up_where_an_entrant_arrives():
    shares = pd.DataFrame({"LearnedLR on SGD": [0.5, 1.0], "Prodigy": [0.0, 0.5]}, index=[1.0, 4.0])
    ax = plots.time_profile(shares)
    assert [line.get_label() for line in ax.lines] == list(shares.columns)
    for line, name in zip(ax.lines, shares.columns, strict=True):
        assert np.array_equal(line.get_ydata(), shares[name])
    assert ax.lines[0].get_linewidth() > ax.lines[1].get_linewidth()


def snippets():
    """The pieces of code that the chapter shows."""
    path = Path(__file__).parents[1] / "notebooks" / "own_models.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


@pytest.mark.filterwarnings("ignore:LearnedLR sees an input")
def test_the_loop_that_the_chapter_shows_trains():
    plain = next(code for code in snippets() if "for x, y in loader" in code)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = [(torch.randn(8, 3), torch.randint(2, (8,))) for _ in range(5)]
    names = {"model": model, "optimizer": optimizer, "loader": loader, "loss_fn": nn.functional.cross_entropy}
    exec(plain, names)
    assert len(names["learned"].history()) == len(loader)


def test_code_for_other_trainers_is_python_and_calls_what_there_is():
    lightning, hugging_face = (code for code in snippets() if "for x, y in loader" not in code)
    assert "LearnedLR(optimizer)" in lightning
    assert "self.learned.observe(loss)" in hugging_face
    for code in (lightning, hugging_face):
        compile(code, "chapter", "exec")
