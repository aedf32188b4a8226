"""What every study is: cells, who meets in them, and the instances; its rows are kept in a table of its name."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.contest import CellResult, by_cell, evaluate
from metalearn_lib.evaluate.jobs import Job, Meet, jobs
from metalearn_lib.evaluate.preparations import Preparations
from metalearn_lib.evaluate.store import Store, answers_folder, results_folder
from metalearn_lib.types import Seeds


@dataclass(frozen=True)
class Study:
    """A question to many runs.

    Args:
        name: of the kept table.
        cells: where methods meet.
        methods: who meets; see `evaluate`.
        score_seeds, tune_seeds: instances.
    """

    name: str
    cells: tuple[Cell, ...]
    methods: Meet
    score_seeds: Seeds
    tune_seeds: Seeds

    @property
    def jobs(self) -> list[Job]:
        return jobs(self.cells, self.methods, self.score_seeds, self.tune_seeds)

    def store(self) -> Store:
        """The kept table of its name, where there is one, and the user's cache for what that lacks."""
        folder = results_folder()
        if folder is None:
            return Store(None, answers_folder())
        return Store(folder / f"{self.name}.parquet", answers_folder(), Preparations(folder))

    def table(self, workers: int | None = None, progress: bool = True) -> pd.DataFrame:
        """A row for every run; what is neither kept nor cached is computed, and cached."""
        seeds = self.score_seeds, self.tune_seeds
        return evaluate(self.cells, self.methods, *seeds, self.store(), workers or None, progress)

    def results(self, workers: int | None = None, progress: bool = True) -> dict[str, CellResult]:
        """The same, cell by cell."""
        return by_cell(self.table(workers, progress))
