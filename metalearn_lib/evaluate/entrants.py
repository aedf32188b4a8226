"""Contestants whose direction is learned beside the rate, from the files that keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Learn, Method, Recipe
from metalearn_lib.fingerprints import code_fingerprint
from metalearn_lib.learned_directions import rule_of
from metalearn_lib.meta_optimizers import load_thetas


@dataclass(frozen=True)
class LearnBoth(Learn):
    """A learned rate on a learned direction, frozen; the direction is made for the layers of the cell's learner.

    Args:
        code: fingerprint of the code that decides it and no other contestant.
    """

    code: str = field(default_factory=lambda: code_fingerprint(("learned_directions.py",)))

    def method(self, numbers: Mapping[str, Any], cell: Cell) -> Method:
        base_lr = numbers["lr"] * self.base_lr_factor * cell.base_lr_factor
        return Method(*rule_of(dict(self.config), self.theta, base_lr, cell.learner))


def entrant(name: str) -> tuple[str, Recipe | Sequence[Recipe]]:
    """`contestant`, and for `meta:FILE` also files whose direction is learned.

    Raises:
        ValueError: for a name that there is not.
    """
    label, recipes = contestant(name)
    rule, _, file = name.partition(":")
    config = load_thetas(file)[1]["config"] if rule == "meta" and file else {}
    if not config.get("learned_direction"):
        return label, recipes
    told = {key: config[key] for key in ("direction", "learned_direction", "hidden", "inputs", "controller")}
    return label, [
        LearnBoth(each.direction, each.theta, each.base, told) for each in cast("Sequence[Learn]", recipes)
    ]
