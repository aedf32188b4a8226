"""The first experiment: task A and its shifts, SGD, Adam and the shipped rules, base rates right and wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.evaluate import ORACLE
from metalearn_lib.evaluate.cells import Cell, home_cell, shifted_cell, standard_cells
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Learn, Recipe, Tune, as_draw
from metalearn_lib.rates.constant import Constant
from metalearn_lib.statistics import describe, headroom_interval, verdict
from metalearn_lib.studies.base import Study
from metalearn_lib.types import Seeds

META, ON_ADAM = "meta-optimizer", "meta-optimizer on Adam"
WRONG = {", base rate / 100": 0.01, ", base rate x 100": 100.0}
"""By what is added to a rule's name, the factor by which its base rate is set wrong."""
METAS, ON_ADAMS = ([name, *(name + told for told in WRONG)] for name in (META, ON_ADAM))
"""Each rule, from its right base rate and from wrong ones."""
RIVALS = {"Adam": "adam", META: "meta", ORACLE: "oracle", ON_ADAM: "on_adam"}
"""Who is held against SGD, and what the page's numbers call each."""


def tuned(name: str) -> Tune:
    """A rival as it is tuned, as a draw."""
    recipe = as_draw(contestant(name)[1])
    assert isinstance(recipe, Tune)
    return recipe


def rule(file: str, name: str) -> Learn:
    """The deployed rule of a shipped file, on the direction and the tuned rate of a rival."""
    theta, card = load_theta(file)
    direction, rate = rule_of(card["config"] | {"direction": name}, theta)
    assert not isinstance(rate, Constant)
    return Learn(direction, rate, tuned(name))


def task_shift(
    task_b: Cell, num_instances: int = 128, num_tuning: int = 512, base_lr_factor: float = 1.0
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
        ORACLE: tuned("sgd@B"),
    }
    cells = {cell.name: cell for cell in [*standard_cells(), task_b]}
    return Study(
        "task_shift", tuple(cells.values()), methods, Seeds("score", num_instances), Seeds("tune", num_tuning)
    )


def wrong_rates(num_instances: int = 128, num_tuning: int = 512, base_lr_factor: float = 1.0) -> Study:
    """SGD and Adam on task A at base rates that are set wrong; the page's numbers call them by these names."""
    rates = {"home": replace(tuned("sgd"), base_lr_factor=base_lr_factor), "adam": tuned("adam")}
    methods = {
        f"{name}_failed_{told}": replace(recipe, base_lr_factor=recipe.base_lr_factor * factor)
        for name, recipe in rates.items()
        for told, factor in zip(("slow", "fast"), WRONG.values(), strict=True)
    }
    return Study(
        "wrong_rates", (home_cell(),), methods, Seeds("score", num_instances), Seeds("tune", num_tuning)
    )


def num_failed(results: Mapping[str, CellResult], methods: list[str]) -> dict[str, int]:
    """The runs of each method that never cross, over all cells."""
    return {name: sum(result.num_failed(name) for result in results.values()) for name in methods}


def summary(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """Cell by cell, the meta-optimizer against SGD and its oracle, and who fails how often."""
    failing = {"SGD": "SGD", "meta": META, "oracle": ORACLE, "Adam": "Adam"}
    rows = {}
    for name, result in results.items():
        captured = headroom_interval(result.times("SGD"), result.times(META), result.times(ORACLE)).value
        rows[name] = {
            ("head-room", ""): f"{result.speedup(ORACLE).value:.2f}",
            (META, "over SGD"): str(result.speedup(META)),
            (META, "verdict"): verdict(result.speedup(META)),
            (META, "over oracle"): f"{result.speedup(META, ORACLE).value:.2f}",
            (META, "captured"): "–" if np.isnan(captured) else f"{captured:.2f}",
            **{("failures", told): result.num_failed(each) for told, each in failing.items()},
        }
    return pd.DataFrame(rows).T


def numbers(results: Mapping[str, CellResult], task_b: str) -> dict[str, Any]:
    """What the page says of task A, task B and the digits; names begin with `home`, `b` and `digits`."""
    told: dict[str, Any] = {}
    for key, cell in {"home": "task A", "b": task_b, "digits": "digits"}.items():
        result = results[cell]
        told[f"{key}_sentence"] = describe(
            "The frozen meta-optimizer", "SGD tuned on A", result.speedup(META)
        )
        told |= {f"{key}_{short}": str(result.speedup(name)) for name, short in RIVALS.items()}
        told[f"{key}_on_adam_over_adam"] = str(result.speedup(ON_ADAM, "Adam"))
        for name, short in {"SGD": "sgd", META: "meta", ORACLE: "oracle"}.items():
            told[f"{key}_epochs_{short}"] = result.mean_epochs(name)
            told[f"{key}_failed_{short}"] = result.num_failed(name)
    return told


def worst(results: Mapping[str, CellResult], baseline: str) -> tuple[str, str]:
    """The cell in which the meta-optimizer does worst against a method, and its speed-up there."""
    values = {name: result.speedup(META, baseline) for name, result in results.items()}
    cell = min(values, key=values.__getitem__)
    return cell, str(values[cell])


def kept() -> list[Study]:
    """The studies of the kept tables."""
    return [task_shift(shifted_cell("scale", 4)), wrong_rates()]
