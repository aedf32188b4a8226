"""Ahead of an oracle? Rules trained for long runs, by layer and on Adam, against rates re-tuned on the very cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from metalearn_lib.cards import load_theta
from metalearn_lib.cores import one_thread
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import ORACLE, contestant
from metalearn_lib.evaluate.methods import Learn, Method, Recipe
from metalearn_lib.evaluate.overhead import relative_cost
from metalearn_lib.evaluate.registration import Registration, read_registration
from metalearn_lib.gradient_estimators import meta_loss
from metalearn_lib.inner_loop import InnerLoop, Instances
from metalearn_lib.rates.constant import Constant
from metalearn_lib.statistics import Interval, restricted_speedup
from metalearn_lib.statistics.tunings import of_meta_seeds
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.shared import Speedups, failing, file_of, regret, times
from metalearn_lib.types import Info, Seeds

CELLS = ("task A", "translate 2", "translate 4", "scale 0.25", "scale 4", "anisotropy 4", "anisotropy 16")
ELSEWHERE = (
    *(
        "width 8",
        "width 128",
        "depth 1",
        "depth 4",
        "tanh",
        "batch 16",
        "initial weights x 3",
        "imbalance 0.9",
    ),
    *("label noise 0.4", "moons", "spirals", "digits", "breast cancer", "wine"),
)
WRONG_BY = 100.0
SHORT, LONG, LAYERED, ON_ADAM = (
    "trained for 96 steps",
    "trained for 96 to 384 steps",
    "and a rate per layer",
    "on Adam",
)
RULES = {
    SHORT: ("meta:sgd_multi", False),
    LONG: ("meta:sgd_long", True),
    LAYERED: ("meta:sgd_layers", True),
    ON_ADAM: ("meta-adam:adam_multi", True),
}
"""The rules: contestant, and whether its base rate is set wrong, too."""
SHORT_NAMES = {"short": SHORT, "long": LONG, "layered": LAYERED, "adam": ON_ADAM}
ON_MIXTURE, BY_LAYER, ADAM_ORACLE = (
    contestant(name)[0] for name in ("sgd@mixture", "sgd-layers@B", "adam@B")
)
ORACLES = {
    **dict.fromkeys(("SGD", ON_MIXTURE, "SGD by layer", BY_LAYER), ORACLE),
    "Adam": ADAM_ORACLE,
    **dict.fromkeys((SHORT, LONG, LAYERED), ORACLE),
    ON_ADAM: ADAM_ORACLE,
}
"""The oracle that each is held against."""
PLAIN = ("sgd", "sgd@mixture", "sgd-layers", "adam", "sgd-layers@B", "sgd@B", "adam@B")
"""Contestants beside the rules, oracles among them."""
PROBES = ("translate 2", "translate 4", "scale 4", "anisotropy 16", "task A")
"""Cells in which the rules are looked at more closely."""
HORIZONS = (96, 384)
"""Steps that the first rule was trained for, and four times as many."""
GRID = 10 ** (np.arange(-8, 5) / 4)
"""Constant rates of which the best in meta-loss is looked for."""
BEST = "best constant"
WRONG = ", base rate x "
CHANGES = {
    "horizons 96 to 384": "sgd_long",
    "horizons 192 to 768": "rules/horizons_192_to_768.safetensors",
    "horizon 384": "rules/horizon_384.safetensors",
    "horizon 384, persistent ES": "rules/horizon_384_pes.safetensors",
    "horizons 96 to 384, task A alone": "rules/horizons_96_to_384_home.safetensors",
}
"""By what differs from the rule trained for 96 steps, a file that ships or one of results/."""
ADDITIONS = {
    "sees how gradients agree": "rules/horizons_96_to_384_alignment.safetensors",
    "a learned momentum": "rules/horizons_96_to_384_momentum.safetensors",
    "a rate per layer": "sgd_layers",
}
"""By what is added to the rule trained for 96 to 384 steps."""


def at(label: str, factor: float) -> str:
    """What a rule is called whose base rate is set wrong by a factor."""
    return label if factor == 1 else f"{label}{WRONG}{factor:g}"


def called(label: str) -> str:
    """What the table calls the rule of a change or an addition, which may be one of `RULES`."""
    by_file = {name.partition(":")[2]: rule for rule, (name, *_) in RULES.items()}
    return by_file.get((CHANGES | ADDITIONS)[label], label)


def deployed(name: str) -> Learn:
    """The meta-seed of a file's contestant that is deployed."""
    recipes = cast("Sequence[Learn]", contestant(name)[1])
    theta = load_theta(name.partition(":")[2])[0]
    return next(recipe for recipe in recipes if torch.equal(recipe.theta, theta))


def ahead(part: Registration, wrong_by: float = WRONG_BY) -> Study:
    """Every rule, with base rates right and wrong, its oracle, and what was changed about it."""
    wrong = 1 / wrong_by, wrong_by
    methods: dict[str, Recipe | Sequence[Recipe]] = dict(contestant(name) for name in PLAIN)
    for label, (name, too) in RULES.items():
        methods[label] = contestant(name)[1]
        if too:
            methods |= {at(label, factor): replace(deployed(name), base_lr_factor=factor) for factor in wrong}
    for label, rule in (("SGD", SHORT), ("Adam", ON_ADAM)):
        silent = cast("Learn", contestant(RULES[rule][0])[1][0]).untrained()  # type: ignore[index]
        methods |= {at(label, factor): replace(silent, base_lr_factor=factor) for factor in wrong}
    for label, name in (CHANGES | ADDITIONS).items():
        if called(label) == label:
            methods[label] = contestant(f"meta:{file_of(name)}")[1]
    methods = {label: part.as_tuned(recipes) for label, recipes in methods.items()}
    return Study("ahead", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def elsewhere(part: Registration) -> Study:
    """The rule with a rate per layer on other learners and other kinds of task."""
    plain = dict(contestant(name) for name in ("sgd", "sgd@B", "adam"))
    methods = {
        label: part.as_tuned(each) for label, each in (plain | {LAYERED: deployed(RULES[LAYERED][0])}).items()
    }
    return Study("elsewhere", tuple(part.cells.values()), methods, part.score_seeds, part.tune_seeds)


def places(part: Registration) -> dict[str, list[str]]:
    """The cells that tables take together: shifted ones, and home; all of them where there are neither."""
    found = {"shifted": part.in_groups("geometric"), "home": part.in_groups("home")}
    return {place: names for place, names in found.items() if names} or {"all": list(part.cells)}


def together(results: Mapping[str, CellResult], part: Registration) -> list[CellResult]:
    """The first of these `places`, whose cells decide."""
    return [results[name] for name in next(iter(places(part).values()))]


def regrets(results: Mapping[str, CellResult], part: Registration) -> pd.DataFrame:
    """Times over the oracle's in each of the `places`, and the share of runs that never get there in the first of them.

    A line for everyone in `ORACLES`, with base rates as tuned and then set wrong. An oracle's own line would be 1.
    """
    decide = together(results, part)
    lines = {
        label: {
            place: regret([results[name] for name in names], label, oracle)
            for place, names in places(part).items()
        }
        | {"never there": failing(decide, label), "the oracle's never there": failing(decide, oracle)}
        for start, oracle in ORACLES.items()
        for label in decide[0].outcomes
        if label.partition(WRONG)[0] == start
    }
    return pd.DataFrame(lines).T


def worst(table: pd.DataFrame, label: str) -> Interval:
    """The largest of a rule's `regrets` in the first place, over its base rates right and wrong."""
    return max(value for line, value in table.iloc[:, 0].items() if str(line).partition(WRONG)[0] == label)


def loop_of(cell: Cell, label: str) -> InnerLoop:
    """The deployed rule at work in a cell, on a base rate of 1."""
    recipe = deployed(RULES[label][0])
    return Method(recipe.direction, recipe.rate).loop(cell)


def meta_losses(cells: Mapping[str, Cell], seeds: Seeds) -> pd.DataFrame:
    """Meta-losses of the rules on SGD, and of the best constant rate *in that very number*, by cell and horizon."""
    lines = {}
    for name, cell in cells.items():
        losses = partial(_losses, instances=cell.draw(seeds, max(HORIZONS)))
        constants = [losses(InnerLoop(cell.learner, Constant(float(lr)))) for lr in GRID]
        rules = {label: losses(loop_of(cell, label)) for label in (SHORT, LONG, LAYERED)}
        for steps in HORIZONS:
            best = {BEST: min(each[steps] for each in constants)}
            lines[name, f"{steps} steps"] = best | {label: each[steps] for label, each in rules.items()}
    return pd.DataFrame(lines).T


def _losses(loop: InnerLoop, instances: Instances) -> dict[int, float]:
    info = loop.unroll(instances)[1]
    return {steps: float(meta_loss(Info(*(each[:, :steps] for each in info))).mean()) for steps in HORIZONS}


def wins(table: pd.DataFrame, label: str, steps: int) -> int:
    """In how many cells of `meta_losses` a rule is below the best constant rate."""
    at_horizon = table.xs(f"{steps} steps", level=1)
    return int((at_horizon[label] < at_horizon[BEST]).sum())


def rate_path(cell: Cell, label: str, seeds: Seeds) -> Tensor:
    """The learning rate that a rule sets along a run, the median over instances, `(time,)`."""
    return loop_of(cell, label).unroll(cell.draw(seeds, max(HORIZONS)))[1].lr.median(0).values


@one_thread()
def layer_rates(cell: Cell, seeds: Seeds) -> Tensor:
    """The rates that the rule with one for each layer sets along a run, medians over instances, `(layers, time)`."""
    steps = loop_of(cell, LAYERED).iterate(cell.draw(seeds, max(HORIZONS)))
    rates = [info.lr[:, None] * state.direction.log_scale.exp() for state, info in steps]
    return torch.stack(rates).median(1).values.T


def costs(cell: Cell, seeds: Seeds) -> dict[str, float]:
    """Processor time of a step of the two rules trained for longer, over that of a step of SGD."""
    rules = {label: loop_of(cell, label) for label in (LONG, LAYERED)}
    return relative_cost({"SGD": InnerLoop(cell.learner, Constant(1.0))} | rules, cell.draw(seeds, 50))


def over_both(cells: Sequence[CellResult], method: str, baseline: str) -> Interval:
    """`over`, with as many meta-seeds as both have."""
    shared = slice(min(len(cells[0].outcomes[each].steps) for each in (baseline, method)))
    before, after = (
        [of_meta_seeds(each, shared) for each in times(cells, name)] for name in (baseline, method)
    )
    return restricted_speedup(before, after)


def worth(results: Mapping[str, CellResult], tried: Mapping[str, str], before: str) -> Speedups:
    """Cell by cell, what each of `CHANGES` or `ADDITIONS` gains over the rule `before` it."""
    return {
        name: {label: over_both([result], called(label), before) for label in tried}
        for name, result in results.items()
    }


def account(cells: Sequence[CellResult], tried: Mapping[str, str], before: str) -> pd.DataFrame:
    """What each is worth over all of these cells, and what it cost."""
    cards = {label: load_theta(file_of(name))[1] for label, name in tried.items()}
    lines = {
        label: {
            "over the shifted cells": over_both(cells, called(label), before),
            "meta-seeds": len(card["validation_loss"]),
            "gradients of each, millions": round(card["gradient_evaluations"] / 1e6, 1),
        }
        for label, card in cards.items()
    }
    return pd.DataFrame(lines).T


def slowest(cells: Sequence[CellResult], method: str = ORACLE) -> str:
    """The cell in which the method's median time is longest."""
    return max(cells, key=lambda cell: float(np.median(cell.outcomes[method].steps))).name


def kept() -> list[Study]:
    """The studies of the kept tables."""
    whole = read_registration().amend()
    return [ahead(whole.part(CELLS, 128, 512, 5)), elsewhere(whole.part(ELSEWHERE, 128, 512, 5))]
