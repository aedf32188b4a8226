"""Contests made by hand: everyone takes the steps that a test says, the cap is 100 and an epoch 4 steps."""

from dataclasses import replace

import numpy as np
import pandas as pd

from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.studies.contest import Contest

CAP = 100


def rows(steps: dict[str, dict[str, list]], lr: dict[tuple[str, str], float] | None = None) -> pd.DataFrame:
    """A row for every run.

    Args:
        steps: by cell and method; a list of lists is one of several meta-seeds.
        lr: tuned rates by cell and method, 0.1 where it says nothing.
    """
    parts = []
    for cell, methods in steps.items():
        for method, each in methods.items():
            times = np.array(each, float)
            for seed, run in enumerate(np.atleast_2d(times)):
                facts = {"cell": cell, "method": method, "meta_seed": seed if times.ndim == 2 else -1}
                facts |= {"lr": (lr or {}).get((cell, method), 0.1), "number": 0.0, "finite": True}
                parts.append(
                    pd.DataFrame(facts | {"instance": range(len(run)), "steps": run, "crossed": run < CAP})
                )
    known = {
        "cap": CAP,
        "steps_per_epoch": 4.0,
        "tuning_gradients": 1000,
        "choice": 0,
        "weight": 1.0,
        "tuning": "",
    }
    losses = {"threshold": 1.0, "prior_loss": 2.0, "reference_loss": 0.5}
    return pd.concat(parts, ignore_index=True).assign(**known, **losses)


def drawn(contest: Contest, method: str, choices: dict[float, dict[str, list]]) -> Contest:
    """The contest in which the tuning of a method may give several rates, with these weights.

    Args:
        choices: by weight, the steps in each cell; the first stands in the place of what the method had.
    """
    tables = [contest.table[contest.table.method != method]]
    for number, (weight, steps) in enumerate(choices.items()):
        each = rows({cell: {method: runs} for cell, runs in steps.items()})
        tables.append(each.assign(choice=number, weight=weight, tuning="a draw", lr=10.0**-number))
    return replace(contest, table=pd.concat(tables, ignore_index=True))


def held(steps: dict[str, dict[str, list]], whole: bool = False, **lr) -> Contest:
    """The contest in which registered cells and methods, called by their own names, take these steps."""
    table = rows(steps, **lr)
    methods = list(dict.fromkeys(table.method))
    part = read_registration().part(list(steps), 2, 2, 1)._replace(methods=methods, whole=whole)
    return Contest(part, table, {name: name for name in methods})
