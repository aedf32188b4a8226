"""The contest: every method in every cell on the same instances, as one tidy table that no run is missing from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from metalearn_lib.cores import available_cores, leave_with_parent, one_thread
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.methods import Recipe
from metalearn_lib.evaluate.store import Store
from metalearn_lib.evaluate.threshold import Outcome, Target, set_target, steps_to_threshold
from metalearn_lib.fingerprints import code_fingerprint, fingerprint
from metalearn_lib.inner_loop import Instances
from metalearn_lib.progress import progress_bar
from metalearn_lib.statistics import Interval, restricted_speedup
from metalearn_lib.types import Seeds

_DECIDES = (
    "types.py",
    "trees.py",
    "tasks.py",
    "shifts",
    "learners.py",
    "fused.py",
    "fused.cpp",
    "monitor.py",
    "directions.py",
    "rates.py",
    "packaged.py",
    "meta_optimizers.py",
    "inner_loop.py",
    "evaluate/cells.py",
    "evaluate/contestants.py",
    "evaluate/methods.py",
    "evaluate/threshold.py",
    "evaluate/tuning.py",
)
"""The modules that decide a row; a change to the code of one makes every kept row stale."""

UNITS = {
    "cell": "name of the cell",
    "method": "name of the method",
    "meta_seed": "number of the meta-seed, -1 for a method that has none",
    "instance": "index of the scoring seed",
    "steps": "gradient evaluations to the threshold, the cap where it was not crossed",
    "epochs": "the same, in passes over the learner's training points",
    "crossed": "whether the held-out loss was below the threshold twice in a row before the cap",
    "finite": "whether the loss stayed a number",
    "cap": "gradient evaluations at which every method of the cell is censored",
    "steps_per_epoch": "gradient evaluations in one pass over the training points",
    "threshold": "held-out loss to reach, nats",
    "reference_loss": "best held-out loss of the reference, nats",
    "prior_loss": "held-out loss of the class-marginal predictor, nats",
    "lr": "tuned rate, nan for a method without one",
    "number": "the rule's further number, nan for a method without one",
    "tuning_gradients": "minibatch gradients that tuning cost, for all cells that share it",
    "key": "fingerprint of all that made the row",
}
"""What each column holds."""


Methods = Mapping[str, Recipe | Sequence[Recipe]]


class CellResult(NamedTuple):
    """One cell's outcomes, method by method, on the same instances."""

    name: str
    cap: int
    steps_per_epoch: float
    outcomes: dict[str, Outcome]
    """arrays `(instances,)`, or `(meta-seeds, instances)` for a method of several"""

    def speedup(self, method: str, baseline: str = "SGD") -> Interval:
        """How many times sooner `method` crosses than `baseline`."""
        return restricted_speedup(self.outcomes[baseline].steps, self.outcomes[method].steps)

    def mean_epochs(self, method: str) -> float:
        """Restricted mean of fractional epochs to the threshold."""
        return float(self.outcomes[method].steps.mean() / self.steps_per_epoch)


def evaluate(
    cells: Sequence[Cell],
    methods: Methods | Callable[[Cell], Methods],
    score_seeds: Seeds,
    tune_seeds: Seeds,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Run every method in every cell and return a row for each method, cell, meta-seed and instance.

    Rows come in the order of cells, methods, meta-seeds and instances, whatever the number of workers; two runs write
    the same bytes. A run that was interrupted goes on from what `store` holds.

    Args:
        cells: with names of their own.
        methods: by name; a sequence is one method's meta-seeds. A function says who meets in each cell.
        score_seeds: instances that score.
        tune_seeds: instances that tune.
        store: a Parquet file; parts are kept beside it while the contest runs.
        workers: processes of one thread each; the machine's cores by default. 1 runs in this process.
        progress: whether to draw a progress bar.

    Returns:
        A table with the columns of `UNITS`.

    Raises:
        ValueError: for cells that share a name, or seeds of another use.
        RuntimeError: when a threshold cannot be reached, or rows are missing.
    """
    score_seeds.require("score")
    tune_seeds.require("tune")
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names):
        raise ValueError(f"cells {names} share a name; give each its own.")
    jobs = _jobs(cells, methods, score_seeds, tune_seeds)
    kept = Store(store)
    left = [job for job in jobs if kept.rows(job.key) is None]
    preparations = {
        key: run for job in left for key, run in job.preparations.items() if kept.facts(key) is None
    }
    bar = progress_bar(len(preparations) + len(left), "contest", "run", progress and bool(left))
    with _pool(min(workers or available_cores(), max(1, len(left)))) as results:
        for key, facts in results(preparations):
            kept.keep_facts(key, facts)
            bar.update()
        runs = {job.key: (_run, *job.arguments(kept)) for job in left}
        jobs_left = {job.key: job for job in left}
        for key, outcome in results(runs):
            kept.keep_rows(key, jobs_left[key].rows(outcome, kept))
            bar.update()
    bar.close()
    table = kept.join([job.key for job in jobs])
    if table.num_rows != len(jobs) * len(score_seeds):
        raise RuntimeError(
            f"{table.num_rows} rows for {len(jobs)} runs of {len(score_seeds)} instances: a row is missing or double; "
            f"delete {store} and run again."
        )
    return table.to_pandas()


def count_missing(
    cells: Sequence[Cell],
    methods: Methods | Callable[[Cell], Methods],
    score_seeds: Seeds,
    tune_seeds: Seeds,
    store: str | os.PathLike[str],
) -> int:
    """How many runs `evaluate` would compute, given what `store` holds; none if it was made by this very code."""
    kept = Store(store)
    return sum(kept.rows(job.key) is None for job in _jobs(cells, methods, score_seeds, tune_seeds))


def by_cell(table: pd.DataFrame) -> dict[str, CellResult]:
    """The outcomes of each cell, in the table's order."""
    results = {}
    for name, rows in table.groupby("cell", sort=False, observed=True):
        outcomes = {}
        for method, runs in rows.groupby("method", sort=False, observed=True):
            num_seeds = int(runs["meta_seed"].nunique())

            def array(column: str, runs: pd.DataFrame = runs, num_seeds: int = num_seeds) -> NDArray:
                values = runs[column].to_numpy()
                return values if runs["meta_seed"].iloc[0] < 0 else values.reshape(num_seeds, -1)

            outcomes[str(method)] = Outcome(array("steps"), array("crossed"), array("finite"))
        first = rows.iloc[0]
        results[str(name)] = CellResult(str(name), int(first.cap), float(first.steps_per_epoch), outcomes)
    return results


class _Job(NamedTuple):
    """One method in one cell."""

    cell: Cell
    name: str
    meta_seed: int
    recipe: Recipe
    score_seeds: Seeds
    tune_seeds: Seeds

    @property
    def key(self) -> str:
        return self._key(
            "rows", self.name, self.meta_seed, self.cell, self.recipe, self.score_seeds, self.tune_seeds
        )

    @property
    def target_key(self) -> str:
        return self._key("target", self.cell, self.score_seeds)

    @property
    def source_key(self) -> str | None:
        place = self.recipe.place(self.cell)
        return None if place is None else self._key("numbers", self.recipe.source, place, self.tune_seeds)

    @property
    def preparations(self) -> dict[str, tuple[Any, ...]]:
        """What must be known before the job can run, by key."""
        needed: dict[str, tuple[Any, ...]] = {self.target_key: (_target, self.cell, self.score_seeds)}
        if self.source_key is not None:
            needed[self.source_key] = (_prepare, self.recipe, self.cell, self.tune_seeds)
        return needed

    def numbers(self, kept: Store) -> dict[str, Any]:
        return {} if self.source_key is None else kept.facts(self.source_key) or {}

    def arguments(self, kept: Store) -> tuple[Any, ...]:
        return self.recipe, self.numbers(kept), self.cell, self.score_seeds, kept.facts(self.target_key)

    def rows(self, outcome: Outcome, kept: Store) -> pa.Table:
        count = len(self.score_seeds)
        target, numbers = kept.facts(self.target_key) or {}, self.numbers(kept)

        def same(value: Any, kind: pa.DataType) -> pa.Array:
            return pa.array([value] * count, kind)

        text = pa.dictionary(pa.int16(), pa.string())
        columns = {
            "cell": same(self.cell.name, text),
            "method": same(self.name, text),
            "meta_seed": same(self.meta_seed, pa.int16()),
            "instance": pa.array(list(self.score_seeds), pa.int32()),
            "steps": pa.array(outcome.steps, pa.float32()),
            "epochs": pa.array(outcome.steps / self.cell.steps_per_epoch, pa.float32()),
            "crossed": pa.array(outcome.crossed),
            "finite": pa.array(outcome.finite),
            "cap": same(target["cap"], pa.int32()),
            "steps_per_epoch": same(self.cell.steps_per_epoch, pa.float32()),
            "threshold": pa.array(target["threshold"], pa.float32()),
            "reference_loss": pa.array(target["reference_loss"], pa.float32()),
            "prior_loss": pa.array(target["prior_loss"], pa.float32()),
            "lr": same(numbers.get("lr", float("nan")), pa.float64()),
            "number": same(numbers.get("number", float("nan")), pa.float64()),
            "tuning_gradients": same(numbers.get("num_gradients", 0), pa.int64()),
            "key": same(self.key, text),
        }
        fields = [pa.field(name, each.type, metadata={"unit": UNITS[name]}) for name, each in columns.items()]
        return pa.table(columns, pa.schema(fields))

    def _key(self, *values: Any) -> str:
        return fingerprint(code_fingerprint(_DECIDES), *values)


def _jobs(
    cells: Sequence[Cell],
    methods: Methods | Callable[[Cell], Methods],
    score_seeds: Seeds,
    tune_seeds: Seeds,
) -> list[_Job]:
    return [
        _Job(cell, name, -1 if isinstance(recipes, Recipe) else meta_seed, recipe, score_seeds, tune_seeds)
        for cell in cells
        for name, recipes in (methods(cell) if callable(methods) else methods).items()
        for meta_seed, recipe in enumerate([recipes] if isinstance(recipes, Recipe) else recipes)
    ]


_Calls = Mapping[str, tuple[Any, ...]]
"""by key, a function and its arguments"""


@contextmanager
def _pool(workers: int) -> Iterator[Callable[[_Calls], Iterator[tuple[str, Any]]]]:
    """What makes calls, in processes or with one worker in this one, and yields each result as soon as it is there."""
    if workers == 1:
        yield lambda calls: ((key, call(*arguments)) for key, (call, *arguments) in calls.items())
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), leave_with_parent) as pool:

        def results(calls: _Calls) -> Iterator[tuple[str, Any]]:
            waiting = {pool.submit(*call): key for key, call in calls.items()}
            return ((waiting[done], done.result()) for done in as_completed(waiting))

        try:
            yield results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _target(cell: Cell, seeds: Seeds) -> dict[str, Any]:
    target = set_target(cell, seeds)
    return {
        name: value if isinstance(value, int) else value.tolist() for name, value in target._asdict().items()
    }


def _prepare(recipe: Recipe, cell: Cell, seeds: Seeds) -> dict[str, Any]:
    place = recipe.place(cell)
    assert place is not None
    with one_thread():
        return recipe.source.prepare(place, seeds)


def _run(recipe: Recipe, numbers: dict[str, Any], cell: Cell, seeds: Seeds, facts: dict[str, Any]) -> Outcome:
    tensors = {name: torch.tensor(facts[name]) for name in ("prior_loss", "reference_loss", "threshold")}
    target = Target(**tensors, cap=facts["cap"])
    method = recipe.method(numbers, cell)
    return steps_to_threshold(method.loop(cell), _instances(cell, seeds, target.cap), target)


@lru_cache(maxsize=2)
def _instances(cell: Cell, seeds: Seeds, num_steps: int) -> Instances:
    return cell.draw(seeds, num_steps)
