"""A learned update taken apart: what is left when its network gives way to its mean, or to a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.learned_update import INPUTS, LAW, SQUARES, LearnedUpdate
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.methods import Method, Recipe
from metalearn_lib.evaluate.threshold import Target
from metalearn_lib.inner_loop import InnerLoop, Instances
from metalearn_lib.rates.constant import Constant
from metalearn_lib.types import Seeds

LINKS = ("Adam at the same rate", "its mean", "its formula", "learned update")
"""What `chain` puts side by side, from nothing of the network to all of it."""
MOST_RECORDED = 16
"""Instances on which a rule is recorded, of those that tune: some hundred thousand weights at each step."""


class Fitted(NamedTuple):
    """Turn and log magnitude of a step as sums of the network's inputs, and of their absolute values."""

    slopes: Tensor
    """of the inputs `(2, 8)`, turn and magnitude"""
    sizes: Tensor
    """of their absolute values `(2, 8)`"""
    offset: Tensor
    """`(2,)`"""
    r_squared: Tensor
    """the part of each one's variance that is explained `(2,)`"""

    def theta(self, law: Tensor) -> Tensor:
        """Meta-parameters of an update with 16 hidden units that is this formula: one for each side of each input."""
        sides = torch.cat([torch.eye(INPUTS), -torch.eye(INPUTS)])
        outer = torch.cat([self.sizes + self.slopes, self.sizes - self.slopes], 1)
        return torch.cat([sides.flatten(), torch.zeros(2 * INPUTS), outer.flatten(), self.offset, law])


def fit(inputs: Tensor, outputs: Tensor, keeps: Literal["mean", "formula"]) -> Fitted:
    """Least squares over all weights at all steps.

    Args:
        inputs: what the network saw `(rows, 8)`.
        outputs: turn and magnitude `(rows, 2)`.
        keeps: `"mean"`, a turn in proportion to Adam's step and one magnitude for all; `"formula"`, all terms.
    """
    inputs, outputs = inputs.double(), outputs.double()
    one = torch.ones(len(inputs), 1, dtype=inputs.dtype)
    whole = torch.cat([inputs, inputs.abs(), one], 1)
    found = torch.zeros(2 * INPUTS + 1, 2, dtype=inputs.dtype)
    if keeps == "formula":
        found = torch.linalg.lstsq(whole, outputs, driver="gelsd").solution
    else:
        found[1, 0] = (inputs[:, 1] * outputs[:, 0]).sum() / inputs[:, 1].square().sum()
        found[-1, 1] = outputs[:, 1].mean()
    left = (outputs - whole @ found).square().sum(0) / (outputs - outputs.mean(0)).square().sum(0)
    found = found.float().T
    return Fitted(found[:, :INPUTS], found[:, INPUTS:-1], found[:, -1], (1 - left).float())


def watch(cell: Cell, rule: LearnedUpdate, lr: float, instances: Instances) -> tuple[Tensor, Tensor]:
    """What an update's network sees in training, and what it answers: inputs `(rows, 8)` and outputs `(rows, 2)`."""
    rule = rule.of(cell.learner)  # type: ignore[assignment]
    loop, network = InnerLoop(cell.learner, Constant(lr), rule), rule.network(rule.hidden)
    state, seen, told = loop.init(instances.params), [], []
    for step in range(instances.num_steps):
        batch = instances.batch(step)
        _, grad = cell.learner.loss_and_grad(state.params, batch)
        inputs, *_ = rule.told(state.direction, grad, state.params)
        seen.append(inputs.transpose(1, 2).flatten(0, 1))
        told.append(torch.stack(network(state.direction.theta, inputs), 2).flatten(0, 1))
        state, _ = loop.step(state, batch)
    return torch.cat(seen), torch.cat(told)


@dataclass(frozen=True)
class Distilled(Recipe):
    """A learned update whose network gives way to what `fit` makes of a recording on tuning instances; its law stays.

    Args:
        rule: the update.
        lr: its rate.
        on: where it is recorded.
        keeps: what of it; see `fit`.
    """

    rule: LearnedUpdate
    lr: float
    on: Cell
    keeps: Literal["mean", "formula"]

    def place(self, cell: Cell) -> Cell:
        return self.on

    def share(self, seeds: Seeds) -> Seeds:
        return replace(seeds, count=min(len(seeds), MOST_RECORDED))

    def prepare(
        self, cell: Cell, seeds: Seeds, target: Target, before: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        instances = cell.draw(seeds, target.cap // 4)  # the cap is eight times the reference's time
        found = fit(*watch(cell, self.rule, self.lr, instances), self.keeps)
        theta = found.theta(self.rule.theta[-LAW:])
        return {"choices": [{"weight": 1.0, "theta": theta.tolist()}], "num_gradients": 0}

    def method(self, numbers: Mapping[str, Any], cell: Cell, seeds: Seeds) -> Method:
        return Method(LearnedUpdate(torch.tensor(numbers["theta"]), hidden=2 * INPUTS), Constant(self.lr))


def chain(home: Cell, methods: Sequence[Method]) -> dict[str, Recipe | Sequence[Recipe]]:
    """Adam at an update's rate, and the update with less and less of its network left out; see `Distilled`.

    Args:
        home: where it is recorded.
        methods: the update, one for each meta-seed.
    """
    rules = [(each.direction, each.rate) for each in methods]
    pairs = [
        (rule, float(rate.lr))
        for rule, rate in rules
        if isinstance(rule, LearnedUpdate) and isinstance(rate, Constant)
    ]
    first: Recipe = Method(Adam(0.9, SQUARES[1]), Constant(pairs[0][1]))
    parts = [[Distilled(rule, lr, home, keeps) for rule, lr in pairs] for keeps in ("mean", "formula")]
    return dict(zip(LINKS, (first, *parts, methods), strict=True))
