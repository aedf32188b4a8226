"""Adam with both of its averages tuned."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from torch import Tensor

from metalearn_lib.directions.adam import Adam, AdamState
from metalearn_lib.directions.base import Direction

PAIRS = tuple(product((0.5, 0.7, 0.9), (0.9, 0.95, 0.99, 0.999)))
"""Decays of the first and of the second average that tuning tries."""


@dataclass(frozen=True)
class AdamAverages(Direction):
    """Adam, of which tuning finds both decays beside the rate.

    Args:
        pair: number of a pair in `PAIRS`; the last is Adam's default.
    """

    pair: float = len(PAIRS) - 1

    label, colour = "Adam with its averages", "#C49A00"
    number, tried = "pair", tuple(float(each) for each in range(len(PAIRS)))

    @property
    def adam(self) -> Adam:
        return Adam(*PAIRS[int(self.pair)])

    def init(self, params: Tensor) -> AdamState:
        return self.adam.init(params)

    def __call__(self, state: Any, grad: Tensor, params: Tensor) -> tuple[Tensor, AdamState]:
        return self.adam(state, grad, params)
