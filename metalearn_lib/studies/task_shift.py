"""The first experiment: task A and its shifts, SGD, Adam and the shipped rules, base rates right and wrong."""

from __future__ import annotations

from dataclasses import replace

from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.evaluate import ORACLE
from metalearn_lib.evaluate.cells import Cell, shifted_cell, standard_cells
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Learn, Recipe, Tune
from metalearn_lib.studies.base import Study
from metalearn_lib.types import Seeds

META, ON_ADAM = "meta-optimizer", "meta-optimizer on Adam"
WRONG = {", base rate / 100": 0.01, ", base rate x 100": 100.0}
"""By what is added to a rule's name, the factor by which its base rate is set wrong."""


def tuned(name: str) -> Tune:
    """A rival tuned on task A."""
    recipe = contestant(name)[1]
    assert isinstance(recipe, Tune)
    return recipe


def rule(file: str, name: str) -> Learn:
    """The deployed rule of a shipped file, on the direction and the tuned rate of a rival."""
    theta, card = load_theta(file)
    return Learn(*rule_of(card["config"] | {"direction": name}, theta), tuned(name))


def task_shift(
    task_b: Cell, num_instances: int = 128, num_tuning: int = 32, base_lr_factor: float = 1.0
) -> Study:
    """Everyone in task A, its standard shifts and task B.

    Args:
        base_lr_factor: on the base rate of SGD and of the rule that builds on it.
    """
    meta = replace(rule("sgd", "sgd"), base_lr_factor=base_lr_factor)
    on_adam = rule("adam_multi", "adam")
    methods: dict[str, Recipe] = {
        "SGD": replace(tuned("sgd"), base_lr_factor=base_lr_factor),
        "Adam": tuned("adam"),
        META: meta,
        **{
            META + told: replace(meta, base_lr_factor=base_lr_factor * factor)
            for told, factor in WRONG.items()
        },
        ON_ADAM: on_adam,
        **{ON_ADAM + told: replace(on_adam, base_lr_factor=factor) for told, factor in WRONG.items()},
        ORACLE: dict([contestant("sgd@B")])[ORACLE],  # type: ignore[dict-item]
    }
    cells = {cell.name: cell for cell in [*standard_cells(), task_b]}
    return Study(
        "task_shift", tuple(cells.values()), methods, Seeds("score", num_instances), Seeds("tune", num_tuning)
    )


def kept() -> list[Study]:
    """The study of the kept table."""
    return [task_shift(shifted_cell("scale", 4))]
