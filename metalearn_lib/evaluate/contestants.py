"""Contestants by name: `adam` is tuned on task A, `adam@mixture` on A and its shifts, `adam@B` on the cell itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from metalearn_lib import packaged
from metalearn_lib.directions import (
    DIRECTIONS,
    Adam,
    AdamW,
    Clipped,
    Direction,
    Gradient,
    Momentum,
    Nesterov,
    Normalised,
    RMSProp,
)
from metalearn_lib.evaluate.cells import Cell, home_cell
from metalearn_lib.evaluate.methods import Learn, Method, Recipe, Rival, Tune, constant
from metalearn_lib.meta_optimizers import load_thetas, shipped
from metalearn_lib.rates import Constant, Cosine, Hypergradient, Polyak, StepDecay
from metalearn_lib.shifts import FAMILIES, RandomShift


def _clipped(lr: float, max_norm: float) -> Method:
    return Method(Clipped(max_norm), Constant(lr))


def _polyak(max_lr: float, c: float) -> Method:
    return Method(Gradient(), Polyak(max_lr, c))


def _hypergradient(lr: float, beta: float) -> Method:
    return Method(Gradient(), Hypergradient(lr, beta))


def _cosine(lr: float, horizon: float) -> Method:
    return Method(Gradient(), Cosine(lr, int(horizon)))


def _step_decay(lr: float, every: float) -> Method:
    return Method(Gradient(), StepDecay(lr, int(every), 0.5))


def _package(make: Callable[[float], Direction], lr: float, number: float) -> Method:
    return Method(make(lr), Constant(1.0))


_HORIZONS = (64.0, 128.0, 256.0)

RIVALS: dict[str, tuple[str, Rival]] = {
    "sgd": ("SGD", constant(Gradient())),
    "momentum": ("momentum", constant(Momentum())),
    "nesterov": ("Nesterov", constant(Nesterov())),
    "adam": ("Adam", constant(Adam())),
    "adamw": ("AdamW", constant(AdamW())),
    "rmsprop": ("RMSProp", constant(RMSProp())),
    "clip": ("clipping", Rival(_clipped, (0.1, 0.3, 1.0, 3.0))),
    "normalised": ("normalised gradient", constant(Normalised())),
    "polyak": ("Polyak step", Rival(_polyak, (0.5, 1.0, 2.0), open_ended=True)),
    "hypergradient": ("hypergradient", Rival(_hypergradient, (1e-3, 1e-2, 1e-1))),
    "cosine": ("cosine", Rival(_cosine, _HORIZONS)),
    "step": ("step decay", Rival(_step_decay, _HORIZONS)),
    "schedulefree": ("Schedule-Free SGD", Rival(partial(_package, packaged.schedule_free_sgd))),
    "schedulefree-adamw": ("Schedule-Free AdamW", Rival(partial(_package, packaged.schedule_free_adamw))),
    "prodigy": ("Prodigy", Rival(partial(_package, packaged.prodigy))),
    "dog": ("DoG", Rival(partial(_package, packaged.dog))),
    "dadapt": ("D-Adaptation", Rival(partial(_package, packaged.dadapt_adam))),
}
"""What figures and tables call each rival, and how it is made from a rate and a further number."""

LEARNING_RATE_FREE = ("prodigy", "dog", "dadapt")
"""Rivals that claim to need no tuning: by their plain name they run at their packages' defaults."""

LEARNED = {
    "meta": ("meta-optimizer", "sgd", "sgd"),
    "meta-multi": ("meta-optimizer, many families", "sgd", "sgd_multi"),
    "meta-momentum": ("meta-optimizer on momentum", "momentum", "momentum_multi"),
    "meta-adam": ("meta-optimizer on Adam", "adam", "adam_multi"),
    "schedule": ("learned schedule", "sgd", "schedule"),
}
"""Learned rates: what tables call each, the rival whose direction and tuned rate it builds on, and its shipped file."""


def mixture_cell() -> Cell:
    """Task A and its shifts: the distribution that learned rates are trained on, to tune rivals on."""
    return Cell("mixture", RandomShift(home_cell().family, tuple(FAMILIES)))


def contestant(name: str) -> tuple[str, Recipe | Sequence[Recipe]]:
    """What tables call a contestant, and how it comes by its numbers; a learned rate has a recipe for each meta-seed.

    Args:
        name: a name in `RIVALS`, with `@mixture` or `@B` for where it is tuned if not on task A; or one in `LEARNED`,
            with `:` and a shipped name or a file for meta-parameters other than the default.

    Raises:
        ValueError: for a name that there is not.
    """
    rule, _, place = name.partition("@")
    if rule in RIVALS and place in ("", "A", "mixture", "B"):
        label, rival = RIVALS[rule]
        if rule in LEARNING_RATE_FREE and not place:
            return label, rival.make(1.0, rival.numbers[0])
        on = {"mixture": mixture_cell(), "B": None}.get(place, home_cell())
        suffix = {"mixture": ", tuned on the mixture", "B": " re-tuned on B"}.get(place, "")
        return label + suffix, Tune(rival, on)
    rule, _, weights = name.partition(":")
    if rule in LEARNED:
        label, base, file = LEARNED[rule]
        thetas, card = load_thetas(weights or file)
        config = {
            key: card["config"][key] for key in ("hidden", "inputs", "controller") if key in card["config"]
        }
        tuned, direction = Tune(RIVALS[base][1], home_cell()), DIRECTIONS[base]
        recipes = [Learn(direction, theta, tuned, config) for theta in thetas]
        return label + (f" ({weights})" if weights else ""), recipes
    raise ValueError(
        f"rival {name!r} is unknown; use one of {', '.join(RIVALS)}, each with @mixture or @B for where it is tuned, "
        f"or {', '.join(LEARNED)}, each with :FILE for other weights ({', '.join(shipped())} ship)."
    )
