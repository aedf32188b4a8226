"""What larger runs would cost: measured costs of a unit of work and of sharing it out, carried to more cores."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.evaluate.store import results_folder
from metalearn_lib.files import read_parquet
from metalearn_lib.meta_train import MetaTrainConfig

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "what": (pa.string(), "what was measured"),
    "workers": (pa.int32(), "workers that took part"),
    "seconds": (pa.float64(), "wall-clock seconds for what is shared out, processor seconds for work"),
    "count": (
        pa.int64(),
        "how many were measured; of a kind of question all that the contest has, of inner steps those of an outer step",
    ),
}
"""Of the kept table: what each column holds, and its type."""
STAGES = ("target", "numbers", "rows")
"""Kinds of question of a contest, each of which needs the one before: thresholds, tuning, scored runs."""


def read(path: Path | None = None) -> pd.DataFrame:
    """The kept costs.

    Raises:
        FileNotFoundError: when there are none.
        ValueError: when the file is not what was written.
    """
    path = path or (results_folder() or Path("results")) / "costs.parquet"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there; `python benchmarks/cluster.py --out {path}` makes it, in ten minutes."
        )
    return read_parquet(path).to_pandas()


def overheads(costs: pd.DataFrame) -> pd.DataFrame:
    """Milliseconds that sharing out costs, by workers."""
    told = {
        "call": "lost to each call, on a cluster",
        "call, 1 in flight": "the same, none waiting at the worker",
        "call, processes": "lost to each call, processes of one machine",
        "call of nothing": "from one call to the next, of the client and the scheduler",
        "gather": "to add up one outer step's estimates",
    }
    found = pd.DataFrame(costs[costs.what.isin(list(told))])
    table = found.pivot(index="what", columns="workers", values="seconds").loc[list(told)] * 1000
    return table.rename(index=told, columns=lambda workers: f"{workers} workers").rename_axis(None)


class Plan(NamedTuple):
    """A run on so many cores."""

    cores: int
    hours: float
    busy: float
    """the share of the cores' time that is work"""
    bound: str
    """what would have to be faster"""

    @property
    def told(self) -> str:
        """How long it takes, in the unit that suits."""
        units = {"days": 24, "hours": 1, "minutes": 1 / 60, "seconds": 1 / 3600}
        unit = next((unit for unit, hours in units.items() if self.hours >= 2 * hours), "seconds")
        number = self.hours / units[unit]
        return f"{number:.{int(number < 10)}f} {unit}"


def contest(costs: pd.DataFrame, times: float, cores: int, seed: int = 0) -> Plan:
    """The registered contest at so many times the instances, to score and to tune.

    Questions of a kind cost what those cost that were drawn and measured, times `times`, and go to whichever core is
    free next; all of a kind wait for the kind before. A call costs a core what it did with the most workers that were
    measured, and all cores together wait for the client and the scheduler, which give out one call after another.
    """
    drawn = np.random.default_rng(seed)
    lost, each = _most(costs, "call"), serial(costs)
    wall = work = 0.0
    bounds: dict[str, float] = {}
    for kind in STAGES:
        rows = _of(costs, kind)
        seconds = drawn.choice(rows.seconds.to_numpy(), int(rows["count"].iloc[0])) * times
        shared = lost if cores > 1 else 0.0
        ends = _makespan(seconds + shared, cores)
        handing = len(seconds) * each if cores > 1 else 0.0
        wall, work = wall + max(ends, handing), work + seconds.sum()
        even = (seconds + shared).sum() / cores
        bound = (
            "client and scheduler"
            if handing > ends
            else "the longest question"
            if ends > 1.5 * even
            else "work"
        )
        bounds[bound] = bounds.get(bound, 0.0) + max(ends, handing)
    return Plan(cores, wall / 3600, work / (wall * cores), max(bounds, key=bounds.__getitem__))


def _makespan(seconds: np.ndarray, cores: int) -> float:
    """When the last is done, each begun by the core that is free first."""
    free = [0.0] * min(cores, len(seconds))
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def meta_training(costs: pd.DataFrame, inner_steps: float, cores: int, meta_seeds: int = 5) -> Plan:
    """Meta-training of the registered rule on SGD, of several meta-seeds with so many inner steps each.

    Cores are dealt out to meta-seeds; those of one share the chunks of an outer step, and wait for each other to add up
    their estimates. More cores than chunks are of no use to a meta-seed.
    """
    row = _of(costs, "inner step").iloc[0]
    parts = chunks()
    gather = _of(costs, "gather").sort_values(by="workers")
    rounds = -(-meta_seeds // cores)
    each = max(1, cores // meta_seeds)
    used = min(each, parts)
    outer_steps = inner_steps / row["count"]
    gathering = float(np.interp(used, [1, *gather.workers], [0.0, *gather.seconds]))
    share = -(-parts // used) / parts  # of an outer step that the busiest worker computes
    wall = rounds * outer_steps * (row["count"] * row.seconds * share + gathering)
    work = meta_seeds * inner_steps * row.seconds
    bound = (
        "chunks of an outer step"
        if each > parts
        else "gathering"
        if gathering > row["count"] * row.seconds * share
        else "work"
    )
    return Plan(cores, wall / 3600, work / (wall * cores), bound)


def chunks() -> int:
    """In how many parts an outer step of the registered rule on SGD can be shared out."""
    return len(MetaTrainConfig(**read_registration().training["sgd"]).chunks)


def serial(costs: pd.DataFrame) -> float:
    """Seconds from one call to the next, of the client and the scheduler of the most workers that were measured."""
    return _most(costs, "call of nothing")


def table(plans: Sequence[Plan]) -> pd.DataFrame:
    """A row for each number of cores."""
    rows = {
        plan.cores: {
            "time": plan.told,
            "cores busy": f"{100 * plan.busy:.0f} %",
            "bound by": plan.bound,
        }
        for plan in plans
    }
    return pd.DataFrame(rows).T.rename_axis("cores")


def _of(costs: pd.DataFrame, what: str) -> pd.DataFrame:
    return pd.DataFrame(costs[costs.what == what])


def _most(costs: pd.DataFrame, what: str) -> float:
    """Of what was measured with the most workers."""
    rows = _of(costs, what)
    return float(rows.seconds[rows.workers.idxmax()])
