"""Contestants by name: `adam` is tuned on task A, `adam@mixture` on A and its shifts, `adam@B` on the cell itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from metalearn_lib.cards import load_thetas, rule_of, shipped, trained_at
from metalearn_lib.directions import DIRECTIONS
from metalearn_lib.directions.base import Direction
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.cells import Cell, home_cell
from metalearn_lib.evaluate.methods import Learn, Method, Recipe, Rival, Tune
from metalearn_lib.rates import RATES
from metalearn_lib.rates.base import Rate
from metalearn_lib.rates.constant import Constant
from metalearn_lib.registry import from_outside
from metalearn_lib.shifts.random_family import MIXTURE, random_family

LEARNED = {
    "meta": ("meta-optimizer", "sgd", "sgd"),
    "meta-multi": ("meta-optimizer, many families", "sgd", "sgd_multi"),
    "meta-momentum": ("meta-optimizer on momentum", "momentum", "momentum_multi"),
    "meta-adam": ("meta-optimizer on Adam", "adam", "adam_multi"),
    "meta-layers": ("meta-optimizer by layer", "sgd", "sgd_layers"),
    "meta-update": ("learned update", "adam", "update"),
    "schedule": ("learned schedule", "sgd", "schedule"),
}
"""Learned rates: what tables call each, the rival whose direction and tuned rate it builds on, and its shipped file."""
PLACES = {"": "", "A": "", "mixture": ", tuned on the mixture", "B": " re-tuned on B"}
"""Where a rule may be tuned, and what its label says of it."""
ORACLE = Gradient.label + PLACES["B"]
"""The ruler: SGD at the rate tuned on the cell itself, on other seeds."""


def rivals() -> dict[str, type[Direction] | type[Rate]]:
    """The rules that are not learned, by name: directions at a constant rate, and rates on the gradient."""
    return {name: kind for name, kind in [*DIRECTIONS.items(), *RATES.items()] if kind.rival}


def rival(kind: type[Direction] | type[Rate]) -> Rival:
    """How a rule is made from a rate and a further number, and what is tried for that."""
    if issubclass(kind, Rate):
        return Rival(partial(_at_rate, kind), kind.tried, kind.open_ended)
    return Rival(partial(_along, kind), kind.tried)


def _at_rate(kind: type[Rate], lr: float, number: float) -> Method:
    return Method(Gradient(), kind(lr, **{kind.number: number} if kind.number else {}))  # type: ignore[call-arg]


def _along(kind: type[Direction], lr: float, number: float) -> Method:
    further = {kind.number: number} if kind.number else {}
    if kind.carries_rate:
        return Method(kind(lr, **further), Constant(1.0))  # type: ignore[call-arg]
    return Method(kind(**further), Constant(lr))


def mixture_cell() -> Cell:
    """Task A and its shifts: the distribution that learned rates are trained on, to tune rivals on."""
    return Cell("mixture", random_family(home_cell().family, MIXTURE))


def _learned(config: Mapping[str, Any], theta: Tensor, tuned: Tune) -> Recipe:
    """A learned rate at the base rate that is tuned; a learned direction at the rate that it was trained at, which is
    its own, so that there is none to tune or to set wrong.
    """
    direction, rate = rule_of(config, theta)
    if not isinstance(rate, Constant):
        return Learn(direction, rate, tuned)
    return Method(direction, Constant(trained_at(config)))


def contestant(name: str) -> tuple[str, Recipe | Sequence[Recipe]]:
    """What tables call a contestant, and how it comes by its numbers; a learned rate has a recipe for each meta-seed.

    Args:
        name: a name in `rivals`, or `module:Name` of a rate or direction from outside, with `@mixture` or `@B` for
            where it is tuned if not on task A; or one in `LEARNED`, with `:` and a shipped name or a file for
            meta-parameters other than the default.

    Raises:
        ValueError: for a name that there is not.
    """
    rule, _, place = name.partition("@")
    known = rivals()
    if (rule in known or (":" in rule and rule.split(":")[0] not in LEARNED)) and place in PLACES:
        kind = known[rule] if rule in known else from_outside(rule, DIRECTIONS, RATES)
        if not kind.rival:
            raise ValueError(
                f"rival {name!r} has settings that tuning does not find; put it to tasks with `evaluate`."
            )
        made = rival(kind)
        if issubclass(kind, Direction) and not kind.needs_tuning and not place:
            return kind.label, made.make(1.0, made.numbers[0])
        on = {"mixture": mixture_cell(), "B": None}.get(place, home_cell())
        return kind.label + PLACES[place], Tune(made, on)
    rule, _, weights = name.partition(":")
    if rule in LEARNED:
        label, base, file = LEARNED[rule]
        thetas, card = load_thetas(weights or file)
        tuned, config = Tune(rival(known[base]), home_cell()), card["config"] | {"direction": base}
        return label + (f" ({weights})" if weights else ""), [
            _learned(config, theta, tuned) for theta in thetas
        ]
    raise ValueError(
        f"rival {name!r} is unknown; use one of {', '.join(known)}, or module:Name for one of your own, each with "
        f"@mixture or @B for where it is tuned, or {', '.join(LEARNED)}, each with :FILE for other weights "
        f"({', '.join(shipped())} ship)."
    )
