"""One run, side by side: what the meta-optimizer sees on a single instance, and what it does."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.threshold import set_target, steps_to_threshold
from metalearn_lib.inner_loop import InnerLoop, Instances
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.rates.base import Rate
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.types import Info, Seeds


def base_lr() -> float:
    """SGD's rate, tuned on task A, on which the shipped rule builds."""
    return MetaTrainConfig(**load_theta("sgd")[1]["config"]).centre("sgd")


def meta_optimizer(base_lr: float) -> Rate:
    """The shipped rule of SGD, from a base rate."""
    theta, card = load_theta("sgd")
    return rule_of(card["config"], theta, base_lr)[1]


def unrolls(cell: Cell, rates: Mapping[str, Rate], instances: Instances) -> dict[str, Info]:
    """What the monitor saw under each rate, on the same instances."""
    return {name: InnerLoop(cell.learner, rate).unroll(instances)[1] for name, rate in rates.items()}


def crossings(cell: Cell, rates: Mapping[str, Rate], seeds: Seeds) -> dict[str, str]:
    """When each rate crosses the threshold on one instance, in words."""
    target = set_target(cell, seeds)
    instances = cell.draw(seeds, target.cap)
    told = {}
    for name, rate in rates.items():
        outcome = steps_to_threshold(InnerLoop(cell.learner, rate), instances, target)
        at = f"at step {outcome.steps[0]:.0f}"
        told[name] = at if outcome.crossed[0] else f"not within {target.cap} steps"
    return told


def placebo_gap(cell: Cell, instances: Instances, base_lr: float) -> float:
    """The largest difference between weights that SGD and an untrained meta-optimizer train; nan counts as none."""
    untrained = MetaOptimizer().init_theta(torch.Generator().manual_seed(0))
    plain, placebo = (
        InnerLoop(cell.learner, rate).unroll(instances)[0].params
        for rate in (Constant(base_lr), LearnedRate(base_lr, untrained))
    )
    return float((plain - placebo).nan_to_num().abs().max())


def spread(paths: Mapping[str, Info]) -> float:
    """The largest over the smallest rate of the first instance after the last step."""
    last = torch.stack([info.lr[0, -1] for info in paths.values()])
    return float(last.max() / last.min())
