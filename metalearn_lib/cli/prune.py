"""`metalearn prune`: drop kept rows that no question asks for, and the user's cache."""

from __future__ import annotations

import argparse

from metalearn_lib.cli import CommandError


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "prune",
        help="drop rows that no question asks for any more",
        description="Drop the rows of the tables in results/ that no study asks for any more. Nothing else ever drops "
        "a kept row.",
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="which tables (default: all)")
    parser.add_argument("--cache", action="store_true", help="empty the user's cache of answers instead")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import shutil

    from metalearn_lib.evaluate.preparations import Preparations
    from metalearn_lib.evaluate.store import Table, answers_folder
    from metalearn_lib.files import write_parquet
    from metalearn_lib.studies.tables import find_tables

    if arguments.cache:
        shutil.rmtree(answers_folder(), ignore_errors=True)
        print(f"emptied {answers_folder()}")
        return 0
    try:
        found = find_tables(arguments.tables)
    except ValueError as error:
        raise CommandError(str(error), status=2) from error
    for study, path in found:
        kept, asked = Table(path), {job.rows.key for job in study.jobs}
        left = [part for key, part in kept.parts.items() if key not in asked]
        if left:
            write_parquet(path, kept.without({part.key for part in left}))
        print(f"{study.name}: dropped {len(left)} of {len(kept.parts)} runs")
    tuned = {job.tuning for study, _ in find_tables() for job in study.jobs}
    print(f"dropped {Preparations(found[0][1].parent).keep(tuned)} preparations")
    return 0
