"""How to train a rule that trains: estimators of the meta-gradient at the same cost, and ever more families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import ORACLE
from metalearn_lib.evaluate.cells import standard_cells
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Learn, Tune, as_draw
from metalearn_lib.gradient_estimators import ESTIMATORS
from metalearn_lib.meta_train import MetaTrainConfig, Trained, mean_estimate, meta_train_many
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.shifts.random_family import HOME, families
from metalearn_lib.statistics import Interval, mean_interval
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.shared import log_gains
from metalearn_lib.tasks.real import RealData
from metalearn_lib.types import Seeds

Name = TypeVar("Name")
BASE = MetaTrainConfig(num_tasks=16, outer_lr=0.05, max_nonfinite=1.0)
"""What all of them have in common."""
LEFT_OUT = ("scale 4", "digits")
"""Cells that no rule of the page is trained on."""
FIRST = (HOME, "translate", "anisotropy", "rotate")
"""The families that are drawn from first."""


def estimators(
    budget: int, horizon: int, truncation_length: int, num_seeds: int, also: Sequence[str] = ()
) -> dict[str, list[MetaTrainConfig]]:
    """By its name in tables, every estimator at a cost of `budget` minibatch gradients, a config to each meta-seed.

    One whose runs go on from call to call truncates them; one that truncates otherwise comes whole, too.

    Args:
        also: estimators from outside, as `module:Name`.
    """
    found = {}
    for name in (*ESTIMATORS, *also):
        kind = ESTIMATORS.find(name)
        # what differentiates nothing trains in the compiled loop, the same to rounding and several times as fast
        config = replace(BASE, horizon=horizon, estimator=name, compile_step=not kind.differentiates)
        if not (kind.persistent and kind.truncates):
            found[kind.label] = config
        if kind.truncates:
            label = kind.label if kind.persistent else f"truncated {kind.label}"
            found[label] = replace(config, truncation_length=truncation_length)
    return {label: _of_seeds(_at_cost(config, budget), num_seeds) for label, config in found.items()}


def by_families(budget: int, horizon: int, num_seeds: int) -> dict[int, list[MetaTrainConfig]]:
    """By their number, ES on one family, two, four and all, at a cost of `budget` each, a config to each meta-seed.

    All are what meta-training may draw from, but for what `LEFT_OUT` is of: scaled inputs, and real data.
    """
    drawn = {name for name, kind in families().items() if kind is None or not issubclass(kind, RealData)}
    names = [*FIRST, *(name for name in families() if name in drawn - {"scale", *FIRST})]
    config = replace(BASE, horizon=horizon, num_tasks=32, compile_step=True)
    return {
        number: _of_seeds(_at_cost(replace(config, families=names[:number]), budget), num_seeds)
        for number in (1, 2, 4, len(names))
    }


def _at_cost(config: MetaTrainConfig, budget: int) -> MetaTrainConfig:
    kind = ESTIMATORS.find(config.estimator)
    steps = config.truncation_length if kind.persistent else None
    cost = kind.cost * config.num_tasks * (steps or config.horizon)
    return replace(config, outer_steps=max(1, budget // cost))


def _of_seeds(config: MetaTrainConfig, num_seeds: int) -> list[MetaTrainConfig]:
    return [replace(config, seed=seed) for seed in range(num_seeds)]


def train(
    configs: Mapping[Name, Sequence[MetaTrainConfig]], workers: int | None = None
) -> dict[Name, list[Trained]]:
    """Train all meta-seeds of all, side by side; where the longest come first, all cores end together."""
    trained = iter(meta_train_many([config for each in configs.values() for config in each], workers or None))
    return {name: [next(trained) for _ in each] for name, each in configs.items()}


def losses(runs: Mapping[str, Sequence[Trained]]) -> dict[str, NDArray]:
    """The meta-loss on validation tasks of every meta-seed, the best estimator first."""
    found = {
        name: np.array([loss for run in each for loss in run.card["validation_loss"].values()])
        for name, each in runs.items()
    }
    return dict(sorted(found.items(), key=lambda each: each[1].mean()))


def ranking(runs: Mapping[str, Sequence[Trained]]) -> pd.DataFrame:
    """Who gets furthest, and at what cost; the best first."""
    rows = {}
    for name, found in losses(runs).items():
        card = runs[name][0].card
        rows[name] = {
            "validation meta-loss": str(mean_interval(found)),
            "worst seed": f"{found.max():.2f}",
            "outer steps": card["config"]["outer_steps"],
            "gradients spent": f"{card['gradient_evaluations']:,d}",
            "runs that broke": int(sum(sum(run.history["nonfinite"]) for run in runs[name])),
        }
    return pd.DataFrame(rows).T


def curves(runs: Mapping[str, Sequence[Trained]]) -> dict[str, tuple[NDArray, NDArray]]:
    """Minibatch gradients spent `(outer steps,)` and meta-loss on training tasks `(seeds, outer steps)`."""
    found = {}
    for name, each in runs.items():
        meta_loss = np.array([run.history["meta_loss"] for run in each])
        num_steps = meta_loss.shape[1]
        spent = np.arange(1, num_steps + 1) * each[0].card["gradient_evaluations"] / num_steps
        found[name] = spent, meta_loss
    return found


def spread(runs: Mapping[str, Sequence[Trained]]) -> dict[str, NDArray]:
    """How much longer the longest single-task estimate of an outer step is than their mean `(seeds, outer steps)`."""
    return {
        name: np.array([run.history["largest_task_norm"] for run in each])
        / np.maximum([run.history["gradient_norm"] for run in each], 1e-12)
        for name, each in runs.items()
    }


def best(runs: Sequence[Trained]) -> Tensor:
    """Theta of the meta-seed with the least meta-loss on validation tasks."""
    return min(runs, key=lambda run: min(run.card["validation_loss"].values())).theta


def cosines(
    config: MetaTrainConfig, theta: Tensor, lengths: Sequence[int], calls: int = 2
) -> dict[int, float]:
    """By truncation length, the cosine between the means of estimates from truncations and from whole unrolls.

    Args:
        config: of the estimator, whole.
        theta: where; it stays.
        lengths: of truncations.
        calls: estimates in each mean.
    """
    whole = mean_estimate(config, theta, calls)
    cut = {
        length: whole
        if length == config.horizon
        else mean_estimate(replace(config, truncation_length=length), theta, calls)
        for length in lengths
    }
    return {length: float(torch.cosine_similarity(each, whole, 0)) for length, each in cut.items()}


def left_out(rules: Mapping[int, Sequence[Trained]], num_instances: int, num_tuning: int) -> Study:
    """Rules, by the number of their families, where none was trained, beside SGD and its oracle."""
    methods = {label: as_draw(recipe) for label, recipe in map(contestant, ("sgd", "sgd@B"))}
    base = methods["SGD"]
    assert isinstance(base, Tune)
    for number, each in rules.items():
        methods[_from(number)] = [Learn(Gradient(), LearnedRate(1.0, run.theta), base) for run in each]
    cells = tuple(cell for cell in standard_cells() if cell.name in LEFT_OUT)
    return Study("left_out", cells, methods, Seeds("score", num_instances), Seeds("tune", num_tuning))


def _from(number: int) -> str:
    return f"{number} families"


def captured(results: Mapping[str, CellResult], numbers: Sequence[int]) -> dict[str, dict[int, NDArray]]:
    """The part of the oracle's gain that rules get, of all cells together and of each, by the number of families.

    Returns:
        Arrays `(meta-seeds,)`.
    """
    room = np.array([log_gains([result], ORACLE) for result in results.values()])
    gains = {
        number: np.array([log_gains([result], _from(number)) for result in results.values()])
        for number in numbers
    }
    together = {"of both": {number: each.sum(0) / room.sum() for number, each in gains.items()}}
    return together | {
        name: {number: each[place] / room[place] for number, each in gains.items()}
        for place, name in enumerate(results)
    }


def more_or_less(many: Interval, few: Interval) -> str:
    """Whether one interval lies wholly above or below the other, in words."""
    if many.low > few.high:
        return "more"
    return "less" if many.high < few.low else "neither clearly more nor clearly less"
