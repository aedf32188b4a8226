"""Where it fails: verdicts in all cells, the cells in which a learned rate does harm, and a run in which it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from metalearn_lib.cards import load_thetas, rule_of
from metalearn_lib.cores import one_thread
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.threshold import set_target
from metalearn_lib.inner_loop import Info, InnerLoop
from metalearn_lib.rates.constant import Constant
from metalearn_lib.statistics import verdict
from metalearn_lib.studies.contest import Contest
from metalearn_lib.studies.shared import Speedups, count_verdicts, failing
from metalearn_lib.types import Seeds

KINDS = ("better", "equivalent", "inconclusive", "worse")
LEARNED = {"meta": "sgd", "meta-multi": "sgd", "meta-adam": "adam"}
"""Learned rates, each with the rule that it is held against."""


def against(contest: Contest) -> dict[str, str]:
    """`LEARNED`, as the table calls them."""
    return dict(zip(contest.named(*LEARNED), contest.named(*LEARNED.values()), strict=True))


def judged(contest: Contest) -> dict[str, CellResult]:
    """The cells in which learned rates meet."""
    multi = contest.labels["meta-multi"]
    return {name: result for name, result in contest.results.items() if multi in result.outcomes}


def verdict_counts(gains: Speedups) -> pd.DataFrame:
    """How many cells there are of each verdict, by method."""
    methods = list(next(iter(gains.values())))
    counts = {method: count_verdicts(row[method] for row in gains.values()) for method in methods}
    return pd.DataFrame({m: {kind: count[kind] for kind in KINDS} for m, count in counts.items()}).T


def harm(
    results: Mapping[str, CellResult], gains: Speedups, baselines: Mapping[str, str], sgd: str, oracle: str
) -> pd.DataFrame:
    """The cells in which a method is worse than its baseline, with the failures of both.

    Args:
        gains: by cell and method.
        baselines: by method.
    """
    rows = {
        (method, name): {
            "speed-up": str(gains[name][method]),
            "its failures": f"{100 * failing([result], method):.0f} %",
            "the base's failures": f"{100 * failing([result], baseline):.0f} %",
            "head-room of SGD": f"{result.speedup(oracle, sgd).value:.2f}",
        }
        for method, baseline in baselines.items()
        for name, result in results.items()
        if verdict(gains[name][method]) == "worse"
    }
    return pd.DataFrame(rows).T


class WorstRun(NamedTuple):
    """The instance of a cell on which the learned rate, of the first meta-seed, loses most to SGD."""

    runs: dict[str, Info]
    threshold: float


@one_thread()
def worst_run(contest: Contest, name: str, num_steps: int = 400) -> WorstRun:
    """Train that instance of a cell again, with SGD and with the learned rate."""
    cell, result = contest.registration.cells[name], contest.results[name]
    sgd, meta = (result.outcomes[label].steps for label in contest.named("sgd", "meta"))
    lost = int(np.log(meta[0] / sgd).argmax())
    seeds = Seeds("score", 1, contest.registration.score_seeds.start + lost)
    thetas, card = load_thetas("sgd")
    lr = contest.table.set_index("method")["lr"].loc[[contest.labels["sgd"]]].iloc[0] * cell.base_lr_factor
    rules = {
        "SGD": (Gradient(), Constant(lr)),
        "meta-optimizer": rule_of(card["config"], thetas[0], lr, cell.learner),
    }
    instances = cell.draw(seeds, min(result.cap, num_steps))
    runs = {
        told: InnerLoop(cell.learner, rate, direction).unroll(instances)[1]
        for told, (direction, rate) in rules.items()
    }
    return WorstRun(runs, float(set_target(cell, seeds).threshold[0]))
