import numpy as np
import pytest
import torch

from metalearn_lib.evaluate import Cell, by_cell, evaluate
from metalearn_lib.evaluate.feedback import LINKS, chain, fit_surrogate, watch
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.polyak import Polyak
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

CELL = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8,), batch_size=32, horizon=24)
CARD = {"config": {"hidden": 16}}
TUNE, SCORE = Seeds("tune", 6), Seeds("score", 8)
UNTRAINED = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))


def test_every_link_of_an_untrained_rates_chain_is_sgd():
    links = chain(CELL, CELL, UNTRAINED[None], CARD, 0.5, len(SCORE), TUNE)
    assert tuple(links) == LINKS
    outcomes = by_cell(evaluate([CELL], links, SCORE, TUNE, workers=1, progress=False))["tiny"].outcomes
    for name in LINKS[1:]:
        assert np.array_equal(outcomes[name].steps[0], outcomes[LINKS[0]].steps)


def test_the_recorded_sequence_is_another_instances_and_the_closed_loop_is_this_ones():
    theta = UNTRAINED + 0.2 * torch.randn(len(UNTRAINED), generator=torch.Generator().manual_seed(1))
    links = chain(CELL, CELL, theta[None], CARD, 0.5, len(SCORE), TUNE)
    (another,), (loop,) = links["its run on another instance"], links["the closed loop"]
    recorded = watch(CELL, loop.rate, TUNE).lr
    torch.testing.assert_close(another.rate.lrs, recorded[[0, 1, 2, 3, 4, 5, 0, 1]])
    (mean,) = links["its mean schedule on B"]
    torch.testing.assert_close(mean.rate.lrs, recorded.log().mean(0).exp())


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
    with pytest.raises(ValueError, match="takes only 'tune'"):
        chain(CELL, CELL, UNTRAINED[None], CARD, 0.5, 8, SCORE)
