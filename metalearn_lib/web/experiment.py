"""The experiment that the explorer shows, the same in torch and in a page: a task, its shifts, and who meets."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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
from metalearn_lib.inner_loop import InnerLoop, InnerState
from metalearn_lib.learners import Learner
from metalearn_lib.meta_train import MetaTrainConfig
from metalearn_lib.plots.style import COLOURS
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate, LearnedRateState
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.shifts.base import Shift
from metalearn_lib.shifts.label_noise import LabelNoise
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.tasks.moons import Moons
from metalearn_lib.tasks.points import Place, Points
from metalearn_lib.tasks.spirals import Spirals

GRID = 48
"""The decision boundary is looked at on this many points a side."""
HOME, OWN = "home", "own"
"""The data of the experiment's family, and a reader's own points."""
MOST_PLACES = 64
"""Points of one's own that a page has room for."""
CLASSES = ("#8FD3F4", "#F49AC1", "#C9C24F", "#7FD6A8", "#B7A3E3", "#F2B27A", "#9AA7B2", "#E6E08A")
"""Colours of the classes, all lighter than any rule's; a class has a mark of its own besides."""
FLAT = 0.02
"""Where no probability differs by as much from place to place, the network answers the same everywhere."""


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
        "meta": learned("learned rate", "sgd", "meta-optimizer"),
        "sgd": plain(Gradient()),
        "layers": learned("learned rate per layer", "sgd_layers", "and a rate per layer"),
        "momentum": plain(Momentum()),
        "adam": plain(Adam()),
        "update": update(),
    }


Setting = tuple[TaskFamily, tuple[int, ...], int, int]
"""What of an experiment its instances depend on: family, hidden layers, batch size and limit; rules do not matter."""


@dataclass(frozen=True)
class Overheard(LearnedRate):
    """A learned rate that writes down what its meta-optimizer was last told, and the change that it answered."""

    heard: list[Tensor] = field(default_factory=list, compare=False)

    def answer(self, told: Tensor, state: LearnedRateState) -> tuple[Tensor, LearnedRateState]:
        change, state = super().answer(told, state)
        self.heard[:] = [told, change.unsqueeze(1)]
        return change, state


@dataclass(frozen=True)
class Experiment:
    """The set-up that the explorer shows, the same in torch and in a page.

    Args:
        family: tasks of two features, unshifted.
        rules: contestants by key; one is called `meta`, the others are its rivals.
        hidden: widths of the learner's hidden layers.
        limit: steps of a run; the book's is the contest's cap on inputs four times as large.
        more: shifts to offer beside those of `SHIFTS`.

    Raises:
        ValueError: for a family whose points cannot be drawn on a plane, or rules without a `meta`.
    """

    family: TaskFamily = field(default_factory=GaussianMixture)
    rules: dict[str, Rule] = field(default_factory=default_rules)
    hidden: tuple[int, ...] = (32, 32)
    batch_size: int = 128
    limit: int = 352
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
    def setting(self) -> Setting:
        return self.family, self.hidden, self.batch_size, self.limit

    @property
    def data(self) -> dict[str, TaskFamily]:
        """What points there are to learn: the family's, other shapes in as many classes, and a reader's own."""
        classes = self.family.num_classes
        return {
            HOME: self.family,
            Moons.name: Moons(num_classes=classes),
            Spirals.name: Spirals(num_classes=classes),
            OWN: Points(num_classes=classes),
        }

    @cached_property
    def learning(self) -> MetaTrainConfig | None:
        """How a rate like `meta` is trained from nothing while a reader waits; None where `meta` is something else."""
        meta = self.rules["meta"]
        if meta.direction != Gradient() or not isinstance(self.loop("meta", 1.0).rate, LearnedRate):
            return None
        told = {name: meta.config[name] for name in ("hidden", "inputs") if name in meta.config}
        return MetaTrainConfig(
            base_lr=meta.base_lr, base_lr_decades=1.0, num_tasks=16, horizon=64, outer_steps=100, **told
        )

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

    def cell(
        self, shift: str, severity: float, noise: float = 0.0, data: str = HOME, points: Sequence[Any] = ()
    ) -> Cell:
        """The data after a shift, with a part `noise` of the training labels wrong.

        Args:
            data: a key of `data`.
            points: a reader's own, `(x, y, class)`.
        """
        family = self.data[data]
        if data == OWN and points:
            places = tuple(Place(x, y, int(label)) for x, y, label in points)
            family = Points(places, num_classes=self.family.num_classes)
        return replace(self.home, family=LabelNoise(self.shifts[shift](family, severity), noise))

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

    def overheard(self, loop: InnerLoop) -> tuple[InnerLoop, Callable[[InnerState], Tensor]]:
        """The loop, and what it tells of a step beside its `Info`, from the state after it, `(tasks, numbers)`: what
        the meta-optimizer was told, its change of the log rate, and each layer's log factor.
        """
        rate = loop.rate
        heard: list[Tensor] = []
        if isinstance(rate, LearnedRate):
            given = {each.name: getattr(rate, each.name) for each in fields(LearnedRate)}
            loop = replace(loop, rate=Overheard(**given, heard=heard))

        def told(state: InnerState) -> Tensor:
            factors = getattr(state.direction, "log_scale", state.params[:, :0])
            return torch.cat([*heard, factors], 1)

        return loop, told

    def sees(self, key: str) -> list[str]:
        """What the rule's meta-optimizer is told, in the order in which `overheard` tells it."""
        rate = self.loop(key, 1.0).rate
        return [each.label for each in rate.meta_optimizer.inputs] if isinstance(rate, LearnedRate) else []

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
                "telling": _telling(kind),
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
                "sees": self.sees(key),
                "tuned": [[10**decade / rule.base_lr, weight] for decade, weight in rule.tuned],
            }
            for key, rule in self.rules.items()
        }
        return {
            "shifts": shifts,
            "rules": rules,
            "data": {name: family.label for name, family in self.data.items()}
            | {HOME: f"{self.family.label} (task A)", OWN: "your own points"},
            "learning": self.learning
            and {
                "tasks": self.learning.num_tasks,
                "steps": self.learning.outer_steps,
                "theta": digits(self.learning.init_theta()),
            },
            "limit": self.limit,
            "grid": GRID,
            "classes": self.family.num_classes,
            "colours": CLASSES,
            "places": Points().places,
            "most": MOST_PLACES,
        }


def digits(theta: Tensor) -> list[float]:
    """Nine digits are exact for float32."""
    return [float(f"{weight:.9g}") for weight in theta.float().tolist()]


def _telling(kind: type[Shift]) -> float:
    """A severity at which the shift shows: half of the way from the one that changes nothing to the last."""
    first = kind.stops.index(min(kind.stops, key=lambda stop: abs(stop - kind.identity)))
    return kind.stops[(first + len(kind.stops)) // 2]


def coloured(probabilities: Tensor) -> tuple[Tensor, bool]:
    """The colours `(places, 4)` of class probabilities `(places, classes)`, 0 to 255, and whether they are the same
    everywhere, and then grey.
    """
    flat = bool((probabilities.amax(0) - probabilities.amin(0) < FLAT).all())
    palette = torch.tensor([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in CLASSES])
    weights = probabilities**3
    mixed = weights / weights.sum(1, keepdim=True) @ palette[: probabilities.shape[1]].to(probabilities)
    if flat:
        mixed = torch.full_like(mixed, 150.0)
    return torch.cat([mixed, torch.full_like(mixed[:, :1], 150.0)], 1).round().byte(), flat
