"""What the contest's methods cost: a step, tuning and meta-training; and when that has paid for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from metalearn_lib.cards import load_thetas
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import LEARNED
from metalearn_lib.evaluate.overhead import overheads
from metalearn_lib.evaluate.registration import contestants
from metalearn_lib.statistics import (
    break_even_tasks,
    trials_to_overtake,
)
from metalearn_lib.studies.contest import DECADES, Contest
from metalearn_lib.studies.contest_tables import everywhere, order
from metalearn_lib.studies.shared import few, over, times


def step_costs(contest: Contest, num_steps: int = 50, compiled: bool = False) -> dict[str, float]:
    """By method, the processor time of a step over that of SGD's, measured now, in the first cell.

    Args:
        compiled: whether in C++, of the methods that its loop holds.
    """
    part = contest.registration
    cell = part.cells[next(iter(contest.results))]
    meet = contestants(part)[0](cell)
    here = {method: meet[method] for method in order(contest) if method in meet}
    rows = contest.table[contest.table.cell == cell.name]
    numbers = rows.groupby("method", observed=True)[["lr", "number"]].first().T.to_dict()
    return overheads(here, numbers, cell, few(part.tune_seeds), num_steps, compiled)


def adjusted(contest: Contest, costs: Mapping[str, float]) -> dict[str, float]:
    """By method, the speed-up over SGD tuned on A in the geometric cells, over what a step costs."""
    sgd = contest.labels["sgd"]
    return {
        method: over(contest.geometric, method, sgd).value / costs[method]
        for method in everywhere(contest)
        if method in costs
    }


def ledger(contest: Contest, costs: Mapping[str, float]) -> pd.DataFrame:
    """What everyone cost: a step, tuning, meta-training, and after how many geometric tasks that has paid for itself.

    Args:
        costs: as `step_costs` gives them.
    """
    sgd, adam = contest.named("sgd", "adam")
    tuning = contest.table.groupby("method", observed=True, sort=False)["tuning_gradients"].max()
    paid = _paid(contest)
    fair = adjusted(contest, costs)
    rows = {
        method: {
            "overhead": f"{costs[method]:.2f}" if method in costs else "–",
            "adjusted": f"{fair[method]:.2f}" if method in fair else "–",
            "tuning": f"{tuning[method]:,}",
            "meta-training": f"{paid[method]:,}" if method in paid else "–",
            "break-even over SGD": _break_even(contest.geometric, paid.get(method), method, sgd),
            "break-even over Adam": _break_even(contest.geometric, paid.get(method), method, adam),
        }
        for method in order(contest)
    }
    return pd.DataFrame(rows).T


def _paid(contest: Contest) -> dict[str, int]:
    """Gradients that meta-training cost, with all meta-seeds."""
    learned = [name for name in LEARNED if name in contest.registration.methods]
    return {
        contest.labels[name]: load_thetas(LEARNED[name][2])[1]["gradient_evaluations_all_seeds"]
        for name in learned
    }


def _break_even(cells: Sequence[CellResult], paid: int | None, method: str, baseline: str) -> str:
    if paid is None:
        return "–"
    tasks = break_even_tasks(paid, times(cells, baseline), times(cells, method)).value
    return "never" if np.isinf(tasks) else f"{tasks:,.0f}"


def overtaken(
    tried: Mapping[str, CellResult], results: Mapping[str, CellResult], method: str
) -> pd.DataFrame:
    """After how many trials on B plain SGD is sooner than a method that has none, by how many tasks share the trials.

    Args:
        tried: of the study `trials`.
    """
    rows = {}
    for name, result in tried.items():
        runs = np.stack([result.outcomes[f"{decade:g}"].steps for decade in DECADES])
        own, tasks = results[name].outcomes[method].steps.ravel(), (1, 10, 100)
        trials = {n: trials_to_overtake(runs, range(len(runs)), own, n) for n in tasks}
        rows[name] = {f"{n} to share": "never" if np.isinf(k) else f"{k:.0f}" for n, k in trials.items()}
    return pd.DataFrame(rows).T
