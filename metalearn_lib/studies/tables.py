"""The tables that are kept, by name: what each of their rows was asked by."""

from __future__ import annotations

from metalearn_lib.studies import ahead, contest, feedback, task_shift
from metalearn_lib.studies.base import Study


def kept_tables() -> dict[str, Study]:
    """The study of every kept table."""
    pages = (contest, feedback, ahead, task_shift)
    return {study.name: study for page in pages for study in page.kept()}
