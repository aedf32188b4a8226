import pytest
import torch

from metalearn_lib.evaluate import home_cell
from metalearn_lib.evaluate.threshold import set_target
from metalearn_lib.rates.constant import Constant
from metalearn_lib.studies import inner_loop
from metalearn_lib.types import Info, Seeds

SEEDS = Seeds("score", 1)


def test_a_rate_of_nothing_never_crosses_and_its_words_name_the_cap():
    cap = set_target(home_cell(), SEEDS).cap
    told = inner_loop.crossings(home_cell(), {"still": Constant(0.0), "SGD": Constant(1.0)}, SEEDS)
    assert told["still"] == f"not within {cap} steps"
    assert 1 < int(told["SGD"].removeprefix("at step ")) <= cap


def test_an_untrained_rule_leaves_no_gap_and_sgd_leaves_the_same_curves():
    instances = home_cell().draw(SEEDS, 5)
    assert inner_loop.placebo_gap(home_cell(), instances, 0.5) == 0
    twice = inner_loop.unrolls(home_cell(), {"a": Constant(0.5), "b": Constant(0.5)}, instances)
    assert torch.equal(twice["a"].loss, twice["b"].loss)


def test_the_shipped_rule_leaves_its_base_rate_behind():
    instances = home_cell().draw(SEEDS, 40)
    lr = inner_loop.base_lr()
    starts = {str(factor): inner_loop.meta_optimizer(lr * factor) for factor in (0.01, 100.0)}
    assert inner_loop.spread(inner_loop.unrolls(home_cell(), starts, instances)) < 10


def test_the_spread_of_rates_is_their_ratio_after_the_last_step():
    paths = {
        name: Info(*[torch.ones(1, 2)] * 3, torch.tensor([[9.0, last]]))
        for name, last in (("a", 6.0), ("b", 2.0))
    }
    assert inner_loop.spread(paths) == pytest.approx(3)
