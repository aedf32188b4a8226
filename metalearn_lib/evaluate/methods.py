"""Contestants: a direction and a rate, and how they come by their numbers without seeing a scored instance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metalearn_lib.directions.base import Direction
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.resampling import draw_winners
from metalearn_lib.evaluate.threshold import Target
from metalearn_lib.evaluate.tuning import search
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates.base import Rate
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.rates.learned_schedule import LearnedSchedule
from metalearn_lib.types import Seeds


class Recipe(ABC):
    """How a contestant comes by its numbers. They are prepared once, on tuning seeds, and kept as JSON."""

    @property
    def source(self) -> Recipe:
        """Whose preparation this one uses, so that recipes that share one prepare it once."""
        return self

    @property
    def needs(self) -> Recipe | None:
        """Whose preparation this one's own preparation is given; None for most, which need nobody's."""
        return None

    def place(self, cell: Cell) -> Cell | None:
        """Where it is prepared, for use in `cell`; None for a recipe that needs no preparation."""
        return None

    def share(self, seeds: Seeds) -> Seeds:
        """The seeds that it is prepared on, of those that there are."""
        return seeds

    def prepare(
        self, cell: Cell, seeds: Seeds, target: Target, before: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Its numbers: `choices`, of which each has a `weight`, the likeliest first; and `num_gradients`, their cost.

        Args:
            target: what there is to reach on the instances of `seeds`.
            before: what `needs` has prepared.
        """
        return {"choices": [{"weight": 1.0}], "num_gradients": 0}

    @abstractmethod
    def method(self, numbers: Mapping[str, Any], cell: Cell, seeds: Seeds) -> Method:
        """The contestant with the numbers of one choice, in `cell`, for the instances of `seeds`."""


@dataclass(frozen=True)
class Method(Recipe):
    """A contestant whose numbers are all set: a direction and a rate."""

    direction: Direction
    rate: Rate

    def method(self, numbers: Mapping[str, Any], cell: Cell, seeds: Seeds) -> Method:
        return self

    def loop(self, cell: Cell) -> InnerLoop:
        return InnerLoop(cell.learner, self.rate, self.direction.of(cell.learner))


@dataclass(frozen=True)
class Rival:
    """Rules that differ in a rate, which is tuned, and perhaps in one further number, of which a few are tried.

    Args:
        make: `make(lr, number)`, a function with a name, is the rule.
        numbers: what to try for the further number.
        open_ended: whether the rate is a bound, which may as well be infinite.
    """

    make: Callable[[float, float], Method]
    numbers: tuple[float, ...] = (0.0,)
    open_ended: bool = False


def constant(direction: Direction) -> Rival:
    """The rival that goes along `direction` at a constant rate."""
    return Rival(partial(_constant, direction))


def _constant(direction: Direction, lr: float, number: float) -> Method:
    return Method(direction, Constant(lr))


@dataclass(frozen=True)
class Tune(Recipe):
    """A rival tuned by the criterion of the evaluation.

    Args:
        rival: what is tuned.
        on: where; None is the very cell that it will be scored in, on other seeds: an oracle, which no mis-set base
            rate touches.
        base_lr_factor: a factor on the tuned rate, to set it wrong.
        resampled: whether tuning is a draw, with a choice for every setting that might have won; if not, the winner on
            these very instances stands for all of them. An oracle is then tuned on half of the instances.
    """

    rival: Rival
    on: Cell | None = None
    base_lr_factor: float = 1.0
    resampled: bool = False

    @property
    def source(self) -> Recipe:
        return replace(self, base_lr_factor=1.0)

    def place(self, cell: Cell) -> Cell:
        return self.on or cell

    def share(self, seeds: Seeds) -> Seeds:
        return replace(seeds, count=-(-len(seeds) // 2)) if self.resampled and self.on is None else seeds

    def prepare(
        self, cell: Cell, seeds: Seeds, target: Target, before: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        asked = (
            cell,
            partial(_loop, cell, self.rival),
            seeds,
            target,
            self.rival.numbers,
            self.rival.open_ended,
        )
        if not self.resampled:
            best = search(*asked)
            choices = [{"lr": best.lr, "number": best.number, "weight": 1.0}]
            return {"choices": choices, "num_gradients": best.num_gradients}
        drawn = draw_winners(*asked)

        def told(decade: float, number: float) -> dict[str, float]:
            return {"lr": 10**decade, "number": number}

        return {
            "choices": [told(*each) | {"weight": weight} for each, weight in drawn.weights.items()],
            "cautious": told(*drawn.cautious),
            "tried": [told(*each) | {"steps": steps.tolist()} for each, steps in drawn.steps.items()],
            "num_gradients": drawn.num_gradients,
        }

    def method(self, numbers: Mapping[str, Any], cell: Cell, seeds: Seeds) -> Method:
        factor = 1.0 if self.on is None else cell.base_lr_factor
        return self.rival.make(numbers["lr"] * self.base_lr_factor * factor, numbers["number"])


def _loop(cell: Cell, rival: Rival, lr: float, number: float) -> InnerLoop:
    return rival.make(lr, number).loop(cell)


@dataclass(frozen=True)
class Learn(Recipe):
    """A learned rate on a direction, frozen; its base rate is the constant rate that was tuned for that direction.

    Args:
        direction: what the rate scales, perhaps itself learned.
        rate: the rate; its own base rate is put aside.
        base: how the base rate was tuned.
        base_lr_factor: a factor on the base rate, to set it wrong.
    """

    direction: Direction
    rate: LearnedRate | LearnedSchedule
    base: Tune
    base_lr_factor: float = 1.0

    @property
    def source(self) -> Recipe:
        return self.base

    def place(self, cell: Cell) -> Cell | None:
        return self.base.place(cell)

    def method(self, numbers: Mapping[str, Any], cell: Cell, seeds: Seeds) -> Method:
        base_lr = numbers["lr"] * self.base_lr_factor * cell.base_lr_factor
        base = next(iter(fields(self.rate)))  # the first field of every rule is its rate
        return Method(self.direction, replace(self.rate, **{base.name: base_lr}))

    @property
    def theta(self) -> Tensor:
        """All its meta-parameters `(theta,)`, the rate's and then the direction's."""
        return torch.cat([part.theta for part in (self.rate, self.direction) if hasattr(part, "theta")])  # type: ignore[union-attr]

    def untrained(self) -> Learn:
        """The same with meta-parameters of the rate that say nothing: its base rate."""
        return replace(self, rate=replace(self.rate, theta=torch.zeros_like(self.rate.theta)))


def as_draw(recipes: Recipe | Sequence[Recipe]) -> Recipe | Sequence[Recipe]:
    """The same, tuned as a draw; see `Tune`."""
    if not isinstance(recipes, Recipe):
        return [each for one in recipes if isinstance(each := as_draw(one), Recipe)]
    if isinstance(recipes, Tune):
        return replace(recipes, resampled=True)
    return (
        replace(recipes, base=replace(recipes.base, resampled=True))
        if isinstance(recipes, Learn)
        else recipes
    )
