"""Contestants that move each layer, or a momentum, by itself: learned, from the files that keep them, and tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from metalearn_lib.evaluate.cells import Cell, home_cell
from metalearn_lib.evaluate.contestants import contestant, mixture_cell
from metalearn_lib.evaluate.methods import Learn, Method, Recipe, Rival, Tune
from metalearn_lib.fingerprints import code_fingerprint
from metalearn_lib.learned_directions import LayerFactors, layer_sizes, rule_of
from metalearn_lib.meta_optimizers import load_thetas
from metalearn_lib.rates import Constant


def _code() -> str:
    """Of what decides these contestants and no others."""
    return code_fingerprint(("learned_directions.py", "evaluate/entrants.py"))


@dataclass(frozen=True)
class LearnBoth(Learn):
    """A learned rate on a learned direction, frozen; the direction is made for the layers of the cell's learner."""

    code: str = field(default_factory=_code)

    def method(self, numbers: Mapping[str, Any], cell: Cell) -> Method:
        base_lr = numbers["lr"] * self.base_lr_factor * cell.base_lr_factor
        return Method(*rule_of(dict(self.config), self.theta, base_lr, cell.learner))


@dataclass(frozen=True)
class TuneLayers(Recipe):
    """SGD with a constant rate for each layer, each a certain part of the one before: the rate and the part are tuned.

        lr_l = lr part^l,   l = 0, 1, ...

    With a part of 1 it is SGD.

    Args:
        on: where it is tuned; None is the very cell, as in `Tune`.
        parts: which are tried.
    """

    on: Cell | None = None
    parts: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    code: str = field(default_factory=_code)

    def place(self, cell: Cell) -> Cell:
        return self._tune(cell).place(cell)

    def prepare(self, cell: Cell, seeds: Any) -> dict[str, Any]:
        return self._tune(cell).prepare(cell, seeds)

    def method(self, numbers: Mapping[str, Any], cell: Cell) -> Method:
        return self._tune(cell).method(numbers, cell)

    def _tune(self, cell: Cell) -> Tune:
        return Tune(Rival(partial(_by_layer, layer_sizes(cell.learner)), self.parts), self.on)


def _by_layer(layers: tuple[int, ...], lr: float, part: float) -> Method:
    return Method(LayerFactors(layers, tuple(part**depth for depth in range(len(layers)))), Constant(lr))


def entrant(name: str) -> tuple[str, Recipe | Sequence[Recipe]]:
    """`contestant`; and `sgd-layers`, with `@mixture` or `@B`, and `meta:FILE` for files whose direction is learned.

    Raises:
        ValueError: for a name that there is not.
    """
    rule, _, place = name.partition("@")
    if rule == "sgd-layers" and place in ("", "A", "mixture", "B"):
        label = contestant(f"sgd@{place}" if place else "sgd")[0]
        on = {"mixture": mixture_cell(), "B": None}.get(place, home_cell())
        return label.replace("SGD", "SGD by layer"), TuneLayers(on)
    label, recipes = contestant(name)
    rule, _, file = name.partition(":")
    config = load_thetas(file)[1]["config"] if rule == "meta" and file else {}
    if not config.get("learned_direction"):
        return label, recipes
    told = {key: config[key] for key in ("direction", "learned_direction", "hidden", "inputs", "controller")}
    return label, [
        LearnBoth(each.direction, each.theta, each.base, told) for each in cast("Sequence[Learn]", recipes)
    ]
