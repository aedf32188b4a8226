from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import Cell, Recipe, Tune, by_cell, evaluate, set_target
from metalearn_lib.evaluate.contestants import rival
from metalearn_lib.evaluate.feedback import LINKS, chain, fit_surrogate, watch
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.rates.polyak import Polyak
from metalearn_lib.rates.schedule import Schedule
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

CELL = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8,), batch_size=32, horizon=24)
TUNE, SCORE = Seeds("tune", 6), Seeds("score", 8)
BASE = Tune(rival(Gradient), CELL)
UNTRAINED = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))


def test_every_link_of_an_untrained_rates_chain_is_sgd():
    links = chain(CELL, [LearnedRate(1.0, UNTRAINED)], BASE)
    assert tuple(links) == LINKS
    outcomes = by_cell(evaluate([CELL], links, SCORE, TUNE, workers=1, progress=False))["tiny"].outcomes
    for name in LINKS[1:]:
        assert np.array_equal(outcomes[name].steps[0], outcomes[LINKS[0]].steps)


def played(link: Sequence[Recipe]) -> Schedule:
    """What a link's only meta-seed plays on the scored instances, at a base rate of 0.5."""
    (recorded,) = link
    before = {"choices": [{"lr": 0.5, "weight": 1.0}], "num_gradients": 0}
    (numbers,) = recorded.prepare(CELL, TUNE, set_target(CELL, TUNE), before)["choices"]
    rate = recorded.method(numbers, CELL, SCORE).rate
    assert isinstance(rate, Schedule)
    return rate


def test_the_recorded_sequence_is_another_instances_and_the_closed_loop_is_this_ones():
    theta = UNTRAINED + 0.2 * torch.randn(len(UNTRAINED), generator=torch.Generator().manual_seed(1))
    links = chain(CELL, [LearnedRate(1.0, theta)], BASE)
    (loop,) = links["the closed loop"]
    recorded = watch(CELL, loop.method({"lr": 0.5}, CELL, SCORE).rate, TUNE).lr
    another, mean = played(links["its run on another instance"]), played(links["its mean schedule on B"])
    torch.testing.assert_close(another.lrs, recorded[[0, 1, 2, 3, 4, 5, 0, 1]])
    torch.testing.assert_close(mean.lrs, recorded.log().mean(0).exp())


def test_what_is_recorded_on_a_comes_from_a_and_what_is_recorded_on_b_from_the_cell():
    links = chain(CELL, [LearnedRate(1.0, UNTRAINED)], BASE)
    elsewhere = replace(CELL, name="elsewhere", horizon=16)
    places = {name: link[0].place(elsewhere) for name, link in list(links.items())[1:-1]}
    assert list(places.values()) == [CELL, CELL, elsewhere, elsewhere]


def test_the_surrogate_of_a_known_rule_is_its_formula():
    polyak = fit_surrogate([watch(CELL, Polyak(1e9, c=1.0), TUNE)])
    np.testing.assert_allclose(polyak.slopes, [1, -2, 0, 0], atol=1e-3)
    assert polyak.r_squared == pytest.approx(1, abs=1e-6)


def test_shuffled_inputs_are_the_same_numbers_in_other_places_and_an_untrained_rate_does_not_notice():
    generator = torch.Generator().manual_seed(2)
    theta = torch.randn(MetaOptimizer().num_theta, generator=generator)
    shuffled = MetaOptimizer().shuffle_inputs(theta, generator)
    assert not torch.equal(shuffled, theta)
    torch.testing.assert_close(shuffled.sort().values, theta.sort().values)
    inputs, memory = torch.randn(1, 8, generator=generator), torch.zeros(1, 4)
    plain = MetaOptimizer()(UNTRAINED[None], inputs, memory)[0]
    dealt = MetaOptimizer()(MetaOptimizer().shuffle_inputs(UNTRAINED, generator)[None], inputs, memory)[0]
    torch.testing.assert_close(plain, dealt)


def test_recording_on_instances_that_score_is_refused():
    links = chain(CELL, [LearnedRate(1.0, UNTRAINED)], BASE)
    with pytest.raises(ValueError, match="takes only 'tune'"):
        evaluate([CELL], links, SCORE, SCORE, workers=1, progress=False)
