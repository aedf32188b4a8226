"""What tasks may have in common, and how meta-training over many set-ups draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from metalearn_lib.architectures import ARCHITECTURES, Plain
from metalearn_lib.learners import MLP, Learner, layer_sizes
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.types import Seeds

_HIDDEN = ((16,), (64,), (16, 16), (32, 32), (64, 32), (32, 32, 32))
_BATCH_SIZES = (32, 64, 128, 256)
_WIDE_BATCH_SIZES = (16, *_BATCH_SIZES)
_HORIZON_FACTORS = (0.5, 1.0, 2.0)
MLP_NAME = "mlp"


class SetUp(NamedTuple):
    """What the tasks of one chunk have in common."""

    direction: str
    hidden: tuple[int, ...]
    batch_size: int
    horizon: int
    family: TaskFamily
    architecture: str = MLP_NAME
    loss: str = "cross_entropy"
    scales_seed: int = 0

    def learner(self, rescale_decades: float = 0.0) -> Learner:
        """The network; where it is no MLP, it computes with its tensors times random powers of ten."""
        shape = self.family.num_features, self.family.num_classes, self.hidden
        if self.architecture == MLP_NAME and self.loss == "cross_entropy":
            return MLP((shape[0], *self.hidden, shape[1]))
        kind = Plain if self.architecture == MLP_NAME else ARCHITECTURES[self.architecture]
        learner = kind(*shape, self.loss)
        if not rescale_decades:
            return learner
        generator = Generator().manual_seed(self.scales_seed)
        return replace(learner, scales=learner.random_scales(rescale_decades, generator))


class Life(NamedTuple):
    """A chunk's runs from their first step to their horizon, all in one set-up."""

    number: int
    began: int
    """the outer step of their first truncation"""
    start: int | None
    """the inner step that they begin at: 0, but for a chunk's first life, so that chunks do not end together; None
    where a chunk keeps its set-up, and its runs end one by one"""
    set_up: SetUp

    def ends(self, truncation_length: int | None) -> int:
        """The outer step before which the runs have reached their horizon."""
        length = truncation_length or self.set_up.horizon
        return self.began + (self.set_up.horizon - (self.start or 0)) // length


def network_at(places: Sequence[float]) -> tuple[tuple[int, ...], int]:
    """Hidden layers and batch size at two `places` in [0, 1) of their distributions."""
    return _HIDDEN[int(places[0] * len(_HIDDEN))], _BATCH_SIZES[int(places[1] * len(_BATCH_SIZES))]


def wide_network_at(places: Sequence[float]) -> tuple[tuple[int, ...], int]:
    """The same of the wider distributions, at three places: of depth, width and batch size."""
    depth, width, size = places
    hidden = (round(4 * 32**width),) * (1 + int(4 * depth))
    return hidden, _WIDE_BATCH_SIZES[int(size * len(_WIDE_BATCH_SIZES))]


def horizons(horizon: int, longest: int | None) -> list[int]:
    """The horizons that there are about `horizon`, or its doublings up to `longest`."""
    if longest is None:
        return [max(2, int(horizon * factor)) for factor in _HORIZON_FACTORS]
    doublings = int(math.log2(longest / horizon) + 1e-9)
    return [horizon * 2**doubling for doubling in range(doublings + 1)]


def horizon_at(place: float, horizon: int, longest: int | None) -> int:
    """The horizon at a `place` in [0, 1): all as likely, or each doubling half as likely as the one before."""
    there_are = horizons(horizon, longest)
    if longest is None:
        return there_are[int(place * len(there_are))]
    shares = torch.tensor([2.0**-doubling for doubling in range(len(there_are))]).cumsum(0)
    return there_are[int(torch.searchsorted(shares / shares[-1], place, right=True))]


def rescaled(params: Tensor, learner: MLP, seeds: Seeds, decades: float) -> Tensor:
    """Initial weights `(tasks, weights)`, those of every other task multiplied by a power of ten for each layer.

    Exponents are uniform within `decades`, less their mean, so that the factors' product is 1. Biases are 0 at the
    start, so that a rectifier's network computes what it did.
    """
    exponents = torch.zeros(len(seeds), len(learner.sizes) - 1)
    for task, index in enumerate(seeds):
        if index % 2:
            drawn = torch.rand(exponents.shape[1], generator=seeds.generator(index, "order")) * 2 - 1
            exponents[task] = decades * (drawn - drawn.mean())
    return params * (10**exponents).repeat_interleave(torch.tensor(layer_sizes(learner)), 1)
