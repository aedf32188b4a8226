"""A learned update taken apart, where the parts are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from metalearn_lib.directions.learned_update import INPUTS, LearnedUpdate, UpdateNetwork
from metalearn_lib.evaluate import Cell, by_cell, evaluate, set_target
from metalearn_lib.evaluate.distilled import LINKS, Distilled, Fitted, chain, fit, watch
from metalearn_lib.evaluate.methods import Method
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates.constant import Constant
from metalearn_lib.types import Seeds


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


FORMULA = Fitted(
    0.1 * randn(2, INPUTS), 0.05 * randn(2, INPUTS, seed=1), torch.tensor([0.02, -0.1]), torch.ones(2)
)
LAW = torch.tensor([0.1, -0.1, 0.2, -0.1, 0.05, -0.5])


@pytest.fixture
def cell(family):
    return Cell("small", family, hidden=(8,), batch_size=32, horizon=24)


def test_a_formula_as_an_update_says_what_the_formula_says():
    inputs = randn(1, INPUTS, 50, seed=2)
    turn, magnitude = UpdateNetwork(2 * INPUTS)(FORMULA.theta(LAW)[None], inputs)
    expected = FORMULA.slopes @ inputs[0] + FORMULA.sizes @ inputs[0].abs() + FORMULA.offset[:, None]
    torch.testing.assert_close(torch.cat([turn, magnitude]), expected, rtol=1e-5, atol=1e-6)


def test_an_update_that_is_a_formula_is_distilled_to_itself(cell):
    rule = LearnedUpdate(FORMULA.theta(LAW), hidden=2 * INPUTS)
    seeds = Seeds("tune", 8)
    distilled = Distilled(rule, 0.05, cell, "formula")
    assert distilled.share(seeds).count == 8
    (choice,) = distilled.prepare(cell, seeds, set_target(cell, seeds))["choices"]
    instances = cell.draw(Seeds("demo", 3), 10)
    losses = [
        InnerLoop(cell.learner, Constant(0.05), method.direction.of(cell.learner)).unroll(instances)[1].loss
        for method in (Method(rule, Constant(0.05)), distilled.method(choice, cell, seeds))
    ]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-4)


def test_what_a_formula_explains_is_told_and_a_mean_explains_a_magnitude_not_at_all():
    inputs = randn(4000, INPUTS, seed=3)
    line = inputs @ FORMULA.slopes.T + inputs.abs() @ FORMULA.sizes.T + FORMULA.offset
    noise = randn(4000, 2, seed=4) * line.std(0)
    found = fit(inputs, line + noise, "formula")
    torch.testing.assert_close(found.slopes, FORMULA.slopes, rtol=0, atol=0.02)
    torch.testing.assert_close(found.r_squared, torch.full((2,), 0.5), rtol=0, atol=0.05)
    mean = fit(inputs, line, "mean")
    assert float(mean.r_squared[1]) == pytest.approx(0, abs=1e-6)
    assert float(mean.offset[1]) == pytest.approx(float(line[:, 1].mean()), abs=1e-6)
    assert not mean.slopes[1].any()
    assert int((mean.slopes[0] != 0).sum()) == 1


def test_what_is_watched_is_what_the_network_was_asked(cell):
    rule = LearnedUpdate(FORMULA.theta(LAW), hidden=2 * INPUTS)
    instances = cell.draw(Seeds("demo", 2), 3)
    inputs, outputs = watch(cell, rule, 0.05, instances)
    assert inputs.shape == (3 * 2 * instances.params.shape[1], INPUTS)
    expected = inputs @ FORMULA.slopes.T + inputs.abs() @ FORMULA.sizes.T + FORMULA.offset
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    first = inputs[: 2 * instances.params.shape[1], :3].abs()
    assert ((first > 0.9) | (first < 1e-3)).float().mean() > 0.9  # the first step is the gradient's sign


def test_all_links_of_an_untrained_update_are_adam(cell):
    rule = LearnedUpdate(UpdateNetwork().init_theta(torch.Generator().manual_seed(0)))
    methods = chain(cell, [Method(rule, Constant(0.05)), Method(replace(rule), Constant(0.05))])
    assert tuple(methods) == LINKS
    seeds = Seeds("score", 4), Seeds("tune", 4)
    outcomes = by_cell(evaluate([cell], methods, *seeds, workers=1, progress=False))["small"].outcomes
    for link in LINKS[1:]:
        assert outcomes[link].steps.shape == (2, 4)
        assert np.array_equal(outcomes[link].steps[1], outcomes[LINKS[0]].steps)
