"""`metalearn audit`: compute kept rows anew, and adopt a refactoring that changes none."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from metalearn_lib.cli import CommandError

if TYPE_CHECKING:
    from metalearn_lib.evaluate.audit import Audit


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "audit",
        help="compute some kept rows anew, and compare",
        description="Draw rows of the tables in results/ at random, compute them anew, and compare. Where the code of "
        "rows has changed and none of those drawn is another, --adopt stamps the table with the new code. A row that "
        "differs by rounding alone, as another processor makes it, is told apart from one whose answer has changed.",
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="which tables (default: all)")
    parser.add_argument("--rows", type=int, default=20, metavar="N", help="rows of each table (default: 20)")
    parser.add_argument(
        "--preparations",
        type=int,
        default=1,
        metavar="N",
        help="tuned rates and thresholds of each table, computed anew as well (default: 1)",
    )
    parser.add_argument(
        "--adopt", action="store_true", help="stamp what has not changed with the present code"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the draw (default: another each time)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from secrets import randbelow

    from metalearn_lib.evaluate import StoreError
    from metalearn_lib.evaluate.audit import adopt, audit
    from metalearn_lib.evaluate.preparations import Preparations
    from metalearn_lib.evaluate.store import Table
    from metalearn_lib.files import write_parquet
    from metalearn_lib.pools import open_pool
    from metalearn_lib.sources import Sources
    from metalearn_lib.studies.tables import find_tables

    seed = randbelow(2**31) if arguments.seed is None else arguments.seed
    if arguments.rows < 1 or arguments.preparations < 0:
        raise CommandError(f"--rows {arguments.rows} audits nothing; use 1 or more.", status=2)
    try:
        found = find_tables(arguments.tables)
    except ValueError as error:
        raise CommandError(str(error), status=2) from error
    faults, sources = [], Sources()
    with open_pool(arguments.workers, len(found) * arguments.rows) as results:
        for study, path in found:
            try:
                jobs, kept = study.jobs, Table(path)
                result = audit(jobs, kept, arguments.rows, arguments.preparations, seed, results)
            except StoreError as error:
                raise CommandError(str(error)) from error
            print(_told(study.name, result), flush=True)
            changed = any(each.verdict == "changed" for each in result.findings)
            if result.stale and arguments.adopt and not changed:
                write_parquet(path, adopt(jobs, kept))
                numbers = {each.key: each.digest(sources) for job in jobs if (each := job.numbers)}
                Preparations(path.parent).stamp(numbers)
                print(f"  adopted: {len(result.stale)} of {len(jobs)} runs are stamped with the present code")
            if changed or result.missing or (result.stale and not arguments.adopt):
                faults.append(study.name)
    if faults:
        raise CommandError(
            f"not as kept: {', '.join(faults)} (seed {seed}). What has not changed is adopted by `metalearn audit "
            f"{faults[0]} --adopt`, and what has is held again by `metalearn evaluate --registered {faults[0]}`."
        )
    return 0


def _told(name: str, result: Audit) -> str:
    counts = Counter(each.verdict for each in result.findings)
    lines = [
        f"{name}: {counts['same']} the same, {counts['rounding']} but for rounding, {counts['changed']} changed; "
        f"at most {result.unseen:.0%} of its rows can have changed unseen"
    ]
    lines += [
        f"  {each.verdict}: {each.what}: {each.told}" for each in result.findings if each.verdict != "same"
    ]
    if result.stale:
        shown = ", ".join(result.changed_code[:6]) + (" ..." if len(result.changed_code) > 6 else "")
        why = (
            f"by a change of {shown}, which reaches {result.reached:,} rows"
            if shown
            else "by another question"
        )
        lines.append(f"  {len(result.stale)} runs are stale {why}")
    if result.missing:
        first = result.missing[0]
        lines.append(
            f"  {len(result.missing)} runs are not there, first {first.name!r} in {first.cell.name!r}"
        )
    return "\n".join(lines)
