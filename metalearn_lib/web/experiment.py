"""The experiment that the explorer shows, the same in torch and in a page: a task, its shifts, and who meets."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metalearn_lib.cards import load_theta, rule_of, trained_at
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.base import Direction
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.directions.momentum import Momentum
from metalearn_lib.evaluate import REFERENCE_RATES, Cell
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.learners import Learner
from metalearn_lib.plots.style import COLOURS
from metalearn_lib.rates.constant import Constant
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.shifts.base import Shift
from metalearn_lib.shifts.label_noise import LabelNoise
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture

GRID = 48
"""The decision boundary is looked at on this many points a side."""


@dataclass(frozen=True)
class Rule:
    """A contestant: how it is called and drawn, its direction, and the rate tuned on task A.

    Args:
        base_lr: the likeliest to win when it is tuned on task A.
        theta: meta-parameters of a learned rule; None is a constant rate.
        config: of the card that `theta` came with; see `rule_of`, which gives its direction, too.
        tuned: decades of all rates that tuning on task A may give, and how likely each is.
    """

    label: str
    colour: str
    direction: Direction
    base_lr: float
    theta: Tensor | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    tuned: tuple[tuple[float, float], ...] = ()

    def loop(self, learner: Learner, base_lr: float | Tensor, theta: Tensor | None = None) -> InnerLoop:
        theta = self.theta if theta is None else theta
        if theta is None:
            return InnerLoop(learner, Constant(base_lr), self.direction.of(learner))
        direction, rate = rule_of(self.config, theta, base_lr, learner)
        return InnerLoop(learner, rate, direction)


REFERENCE = Rule("reference", "", Adam(), REFERENCE_RATES[0])
"""What sets the threshold; see `evaluate.set_target`."""


TUNED = {
    "sgd": ((-0.125, 0.86), (-0.25, 0.14)),
    "momentum": ((-0.75, 0.97), (-0.625, 0.03)),
    "adam": ((-1.375, 0.57), (-1.25, 0.43)),
}
"""What tuning on task A may give, as in the contest: decades of the rate and how likely each is, the winner first."""


def default_rules() -> dict[str, Rule]:
    """The shipped meta-optimizer, called `meta`, and its rivals, each at the rate that wins on task A."""

    def plain(direction: Direction) -> Rule:
        tuned = TUNED[direction.name]
        return Rule(direction.label, direction.colour, direction, 10 ** tuned[0][0], tuned=tuned)

    def learned(label: str, name: str, colour: str) -> Rule:
        theta, card = load_theta(name)
        tuned = TUNED[Gradient.name]
        return Rule(label, COLOURS[colour], Gradient(), 10 ** tuned[0][0], theta, card["config"], tuned)

    def update() -> Rule:
        theta, card = load_theta("update")
        return Rule(
            "learned update",
            COLOURS["learned update"],
            Adam(),
            trained_at(card["config"]),
            theta,
            card["config"],
        )

    return {
        "meta": learned("meta-optimizer", "sgd", "meta-optimizer"),
        "sgd": plain(Gradient()),
        "layers": learned("meta-optimizer by layer", "sgd_layers", "and a rate per layer"),
        "momentum": plain(Momentum()),
        "adam": plain(Adam()),
        "update": update(),
    }


Place = tuple[TaskFamily, tuple[int, ...], int, int]
"""What of an experiment its instances depend on: family, hidden layers, batch size and limit; rules do not matter."""


@dataclass(frozen=True)
class Experiment:
    """The set-up that the explorer shows, the same in torch and in a page.

    Args:
        family: tasks of two features, unshifted.
        rules: contestants by key; one is called `meta`, the others are its rivals.
        hidden: widths of the learner's hidden layers.
        limit: steps of a run; what has not crossed by then has not crossed.
        more: shifts to offer beside those of `SHIFTS`.

    Raises:
        ValueError: for a family whose points cannot be drawn on a plane, or rules without a `meta`.
    """

    family: TaskFamily = field(default_factory=GaussianMixture)
    rules: dict[str, Rule] = field(default_factory=default_rules)
    hidden: tuple[int, ...] = (32, 32)
    batch_size: int = 128
    limit: int = 200
    more: tuple[type[Shift], ...] = ()

    def __post_init__(self) -> None:
        if self.family.num_features != 2:
            raise ValueError(
                f"{type(self.family).__name__} has {self.family.num_features} features, and the explorer draws points "
                "on a plane; use a family of 2 features."
            )
        if "meta" not in self.rules or len(self.rules) < 2:
            raise ValueError(f"rules {', '.join(self.rules)} need one called 'meta' and at least one rival.")

    @property
    def place(self) -> Place:
        return self.family, self.hidden, self.batch_size, self.limit

    @property
    def rivals(self) -> list[str]:
        return [key for key in self.rules if key != "meta"]

    @cached_property
    def why_not(self) -> dict[str, str]:
        """By name, why a live explorer does not offer a shift."""
        return {kind.name: why for kind in self._shifts if (why := self._fault(kind))}

    @property
    def shifts(self) -> dict[str, type[Shift]]:
        """The shifts that a live explorer offers."""
        return {kind.name: kind for kind in self._shifts if kind.name not in self.why_not}

    @property
    def _shifts(self) -> tuple[type[Shift], ...]:
        return (*SHIFTS.values(), *self.more)

    def _fault(self, kind: type[Shift]) -> str:
        if not kind.stops:
            return "it says no stops for a slider"
        if kind.reshapes:
            return "its tasks have another number of features or classes, and the explorer draws one network's plane"
        try:
            kind(self.family, kind.identity).sample(torch.Generator().manual_seed(0))
        except ValueError as fault:
            return str(fault)
        return ""

    def cell(self, shift: str, severity: float, noise: float = 0.0) -> Cell:
        """The family after a shift, with a part `noise` of its training labels wrong."""
        return replace(self.home, family=LabelNoise(self.shifts[shift](self.family, severity), noise))

    @property
    def home(self) -> Cell:
        """The family as it is."""
        return Cell("explorer", self.family, self.hidden, self.batch_size)

    @property
    def num_steps(self) -> int:
        """Steps that an instance is drawn for: those of the reference, which trains longest."""
        return max(self.limit, 4 * self.home.horizon)

    def loop(self, key: str, base_lr: float | Tensor, theta: Tensor | None = None) -> InnerLoop:
        rule = REFERENCE if key == "reference" else self.rules[key]
        return rule.loop(self.home.learner, base_lr, theta)

    def look(self, params: Tensor, box: Tensor) -> Tensor:
        """Class probabilities `(tasks, GRID * GRID, classes)` over a square, from its top left, row by row.

        Args:
            box: centre and half width of the square, `(3,)`.
        """
        line = (torch.arange(GRID, dtype=params.dtype) + 0.5) * (2 / GRID) - 1
        across, up = line.expand(GRID, GRID), -line.unsqueeze(1).expand(GRID, GRID)
        unit = torch.stack([across.reshape(-1), up.reshape(-1)], 1)
        points = box[:2] + box[2] * unit
        return self.home.learner.logits(params, points.unsqueeze(0)).softmax(-1)

    def describe(self, without: Container[str] = ()) -> dict[str, Any]:
        """What the front end has to know, as plain data.

        Args:
            without: shifts that are not offered.
        """
        shifts = {
            name: {
                "label": kind.label,
                "unit": kind.unit,
                "identity": kind.identity,
                "stops": kind.stops,
                "told": [kind.told(stop) for stop in kind.stops],
            }
            for name, kind in self.shifts.items()
            if name not in without
        }
        rules = {
            key: {
                "label": rule.label,
                "colour": rule.colour,
                "base": rule.base_lr,
                "learned": rule.theta is not None,
                "tuned": [[10**decade / rule.base_lr, weight] for decade, weight in rule.tuned],
            }
            for key, rule in self.rules.items()
        }
        return {
            "shifts": shifts,
            "rules": rules,
            "limit": self.limit,
            "grid": GRID,
            "features": self.family.num_features,
            "classes": self.family.num_classes,
        }
