"""The tables that are kept, by name: what each of their rows was asked by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metalearn_lib.evaluate.store import results_folder
from metalearn_lib.studies import ahead, contest, doubts, feedback, second, sensitivity, task_shift, update
from metalearn_lib.studies.base import Study


def kept_tables() -> dict[str, Study]:
    """The study of every kept table."""
    pages = (contest, second, sensitivity, doubts, feedback, ahead, task_shift, update)
    return {study.name: study for page in pages for study in page.kept()}


def find_tables(names: Sequence[str] = ()) -> list[tuple[Study, Path]]:
    """The studies called `names`, all by default, and the files of their tables in results/.

    Raises:
        ValueError: for a name that there is not, or outside of a checkout.
    """
    known, folder = kept_tables(), results_folder()
    if folder is None:
        raise ValueError("there is no results/contest.parquet in this folder or above it; go to a checkout.")
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no kept table is called {unknown[0]!r}; there are {', '.join(known)}.")
    return [(known[name], folder / f"{name}.parquet") for name in names or known]
