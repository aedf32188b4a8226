"""The contest: every method in every cell on the same instances, as one tidy table that no run is missing from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from metalearn_lib.cluster import Cluster
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.jobs import Job, Meet, Question, columns, definitions_of, jobs
from metalearn_lib.evaluate.methods import Tune
from metalearn_lib.evaluate.store import Store, table_of
from metalearn_lib.evaluate.threshold import Outcome
from metalearn_lib.fused.learner import Fused
from metalearn_lib.pools import open_pool
from metalearn_lib.progress import progress_bar
from metalearn_lib.sources import Sources
from metalearn_lib.statistics import Interval, Times, restricted_speedup
from metalearn_lib.statistics.tunings import Runs
from metalearn_lib.types import Seeds


class Choices(NamedTuple):
    """A method at each choice that its tuning may have given, the winner first."""

    outcomes: list[Outcome]
    weights: NDArray
    """how likely each choice is"""
    tuning: str
    """what was tuned; methods that share it share its choices"""


class CellResult(NamedTuple):
    """One cell's outcomes, method by method, on the same instances."""

    name: str
    cap: int
    steps_per_epoch: float
    outcomes: dict[str, Outcome]
    """arrays `(instances,)`, or `(meta-seeds, instances)` for a method of several; of one that was tuned, at the winner
    """
    drawn: Mapping[str, Choices] = MappingProxyType({})
    """of those whose tuning may have given something else"""

    def choices(self, method: str) -> list[Outcome]:
        """At everything that tuning may have given, the winner first."""
        return self.drawn[method].outcomes if method in self.drawn else [self.outcomes[method]]

    def times(self, method: str) -> Runs:
        """Restricted steps, as `statistics` takes them."""
        if method not in self.drawn:
            return self.outcomes[method].steps
        steps = np.stack([each.steps for each in self.choices(method)])
        return Times(steps, self.drawn[method].weights, self.drawn[method].tuning)

    def over_choices(self, method: str, told: Callable[[Outcome], float]) -> float:
        """What is told of an outcome, in the mean over what tuning may have given."""
        weights = self.drawn[method].weights if method in self.drawn else [1.0]
        return float(np.dot(weights, [told(each) for each in self.choices(method)]))

    def speedup(self, method: str, baseline: str = "SGD") -> Interval:
        """How many times sooner `method` crosses than `baseline`."""
        return restricted_speedup(self.times(baseline), self.times(method))

    def mean_epochs(self, method: str) -> float:
        """Restricted mean of fractional epochs to the threshold."""
        return self.over_choices(method, lambda each: each.steps.mean() / self.steps_per_epoch)

    def failing(self, method: str) -> float:
        """The share of runs that never cross."""
        return self.over_choices(method, lambda each: 1 - each.crossed.mean())

    def num_failed(self, method: str) -> int:
        """How many runs never cross, to the next whole number."""
        return round(self.over_choices(method, lambda each: each.num_failed))


def evaluate(
    cells: Sequence[Cell],
    methods: Meet,
    score_seeds: Seeds,
    tune_seeds: Seeds,
    store: str | os.PathLike[str] | Store | None = None,
    workers: int | None = None,
    progress: bool = True,
    merge: bool = False,
    cluster: Cluster | None = None,
) -> pd.DataFrame:
    """Run every method in every cell and return a row for each method, cell, meta-seed, choice and instance.

    Rows come in the order of cells, methods, meta-seeds, choices of tuning and instances, whatever the number of
    workers; two runs give the same bytes. A run that was interrupted goes on from what `store` holds.

    Args:
        cells: with names of their own.
        methods: by name; a sequence is one method's meta-seeds. A function says who meets in each cell.
        score_seeds: instances that score.
        tune_seeds: instances that tune.
        store: a `Store`, which is read and keeps new answers; or a Parquet file, into which all rows are merged at the
            end, and beside which parts are kept until then.
        merge: whether to merge all rows into the kept table of a `Store`, too.
        workers: processes of one thread each; the machine's cores by default. 1 runs in this process.
        progress: whether to draw a progress bar.
        cluster: whose workers run it instead.

    Returns:
        A table with the columns of `store.COLUMNS`.

    Raises:
        ValueError: for cells that share a name, a threshold that is none, or seeds of another use.
        RuntimeError: when a threshold cannot be reached, rows are missing, or a worker is lost.
        StoreError: when a kept file is damaged.
    """
    score_seeds.require("score")
    tune_seeds.require("tune")
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names):
        raise ValueError(f"cells {names} share a name; give each its own.")
    if wrong := [cell.delta for cell in cells if not 0 < cell.delta < 1]:
        raise ValueError(
            f"delta={wrong[0]} must lie between 0 and 1: the part of the loss left at the threshold."
        )
    kept = store if isinstance(store, Store) else Store(store, store and f"{os.fspath(store)}.parts")
    asked = jobs(cells, methods, score_seeds, tune_seeds)
    tables = answer(asked, kept, workers, progress, cluster)
    if merge or (store is not None and not isinstance(store, Store)):
        sources = Sources()
        tuned = [job.numbers for job in asked if isinstance(job.recipe.source, Tune) and job.numbers]
        prepared = {each.key: each.digest(sources) for each in tuned}
        kept.merge(tables, definitions_of(asked, sources), prepared.items())
    table = pa.concat_tables(tables).unify_dictionaries()
    wrong = [rows for rows in tables if rows.num_rows % len(score_seeds)]
    if len(tables) < len(asked) or wrong:
        raise RuntimeError(
            f"{len(tables)} of {len(asked)} runs, {len(wrong)} of them not of {len(score_seeds)} instances: a row is "
            f"missing or double in {kept.path}; take its last version again."
        )
    return table.to_pandas()


def answer(
    asked: Sequence[Job],
    kept: Store,
    workers: int | None = None,
    progress: bool = True,
    cluster: Cluster | None = None,
) -> list[pa.Table]:
    """The rows of each job, those that `kept` lacks computed and kept there."""
    sources = Sources()
    questions = {job: job.rows for job in asked}
    left = [job for job, each in questions.items() if kept.rows(each.key, each.digest(sources)) is None]
    stages = _stages([questions[job] for job in left], kept, sources)
    bar = progress_bar(sum(map(len, stages)) + len(left), "contest", "run", progress and bool(left))
    with bar, open_pool(workers, len(left), cluster, progress) as results:

        def told(question: Question) -> list[dict[str, Any]]:
            return [kept.facts(each.key, each.digest(sources)) or {} for each in question.first]

        for stage in stages:
            for question, facts in results({each: partial(each.call, *told(each)) for each in stage}):
                kept.keep_facts(question.key, question.digest(sources), facts)
                bar.update()
        for job, outcome in results(
            {job: partial(questions[job].call, *told(questions[job])) for job in left}
        ):
            key, code = questions[job].key, questions[job].digest(sources)
            target, *numbers = told(questions[job])
            texts = {"key": key, "code": code, "made": made(job.cell)}
            found = columns(job, outcome, target, *numbers)
            kept.keep_rows(key, code, table_of(found, texts))
            bar.update()
    tables = (kept.rows(each.key, each.digest(sources)) for each in questions.values())
    return [rows for rows in tables if rows is not None]


def count_missing(asked: Sequence[Job], kept: Store) -> int:
    """How many runs would be computed, given what `kept` holds; none if all was made by this very code."""
    sources = Sources()
    return sum(kept.rows(job.rows.key, job.rows.digest(sources)) is None for job in asked)


def made(cell: Cell) -> str:
    """What of this machine may show in a row's last digits."""
    gradient = "C++" if isinstance(cell.learner, Fused) else "PyTorch"
    return f"torch {torch.__version__.split('+')[0]}, gradient in {gradient}, {torch.backends.cpu.get_cpu_capability()}"


def by_cell(table: pd.DataFrame) -> dict[str, CellResult]:
    """The outcomes of each cell, in the table's order."""
    results = {}
    for name, rows in table.groupby("cell", sort=False, observed=True):
        first = rows.iloc[0]
        outcomes, drawn = {}, {}
        for method, runs in rows.groupby("method", sort=False, observed=True):
            at = [each for _, each in runs.groupby("choice")]
            outcomes[str(method)] = _outcome(at[0])
            if len(at) > 1:
                weights = np.array([each["weight"].iloc[0] for each in at])
                drawn[str(method)] = Choices([_outcome(each) for each in at], weights, runs["tuning"].iloc[0])
        results[str(name)] = CellResult(
            str(name), int(first.cap), float(first.steps_per_epoch), outcomes, drawn
        )
    return results


def _outcome(runs: pd.DataFrame) -> Outcome:
    seeds = () if runs["meta_seed"].iloc[0] < 0 else (int(runs["meta_seed"].nunique()),)
    steps, crossed, finite = (
        runs[name].to_numpy().reshape(*seeds, -1) for name in ("steps", "crossed", "finite")
    )
    return Outcome(steps, crossed, finite)


def _stages(questions: Sequence[Question], kept: Store, sources: Sources) -> list[list[Question]]:
    """What must be prepared for these questions, each once, after all that it needs itself."""
    stages: list[list[Question]] = []
    while questions:
        needed = {each.key: each for question in questions for each in question.first}
        questions = [each for key, each in needed.items() if kept.facts(key, each.digest(sources)) is None]
        stages.insert(0, questions)
    return [stage for stage in stages if stage]
