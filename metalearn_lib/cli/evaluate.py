"""`metalearn evaluate`: put rivals and meta-optimizers to a shifted task."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from metalearn_lib.cli import CommandError, add_cluster, cluster_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from metalearn_lib.cluster import Cluster
    from metalearn_lib.evaluate import CellResult


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="put rivals and meta-optimizers to a shifted task",
        description="Train every rival on the same instances of one shifted task, print how soon each crosses the "
        "threshold, and write a row for every run (.parquet) and a figure (.svg). Rivals are tuned on task A; "
        "`adam@mixture` is tuned on A and its shifts, `adam@B` on the shifted task itself, on other instances. "
        "Started again, it goes on from what it has written.",
    )
    parser.add_argument(
        "--shift", metavar="NAME", help="which shift (default: scale, or none of another --family)"
    )
    parser.add_argument("--severity", type=float, metavar="S", help="how far; the shift's unit is its own")
    parser.add_argument(
        "--family", metavar="NAME", help="tasks to shift, or to take as they are, in the place of task A"
    )
    parser.add_argument(
        "--rivals",
        default="sgd,sgd@B,adam,meta",
        metavar="NAMES",
        help="who meets, with commas between (default: %(default)s); --list names them all. A rate, direction, shift "
        "or family of your own is module:Name",
    )
    parser.add_argument(
        "--registered",
        nargs="*",
        metavar="TABLE",
        help="hold the registered contest instead, or the studies of other tables of results/, and merge their rows "
        "into these; what is there and was made by the present code is not computed again",
    )
    parser.add_argument("--list", action="store_true", help="list all that has a name, and stop")
    parser.add_argument(
        "--instances", type=int, default=128, metavar="N", help="scored instances (default: 128)"
    )
    parser.add_argument(
        "--tuning",
        type=int,
        default=512,
        metavar="N",
        help="tuning instances, of which @B takes half (default: 512)",
    )
    parser.add_argument("--delta", type=float, default=0.1, help="the part of the loss left at the threshold")
    parser.add_argument("--out", metavar="FILE", help="the table (default: evaluate-CELL.parquet)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    add_cluster(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from metalearn_lib.evaluate import StoreError, by_cell, evaluate, family_cell, shifted_cell
    from metalearn_lib.evaluate.contestants import contestant
    from metalearn_lib.evaluate.methods import as_draw
    from metalearn_lib.files import check_output
    from metalearn_lib.shifts import SHIFTS
    from metalearn_lib.types import Seeds

    cluster = cluster_of(arguments, "workers")
    if arguments.registered is not None:
        return _hold(arguments, cluster)
    if arguments.list:
        print(_everything())
        return 0
    try:
        if arguments.family and not arguments.shift:
            cell = family_cell(arguments.family)
        else:
            shift = SHIFTS.find(arguments.shift or "scale")
            severity = shift.identity if arguments.severity is None else arguments.severity
            cell = shifted_cell(arguments.shift or "scale", severity, arguments.family)
        cell = replace(cell, delta=arguments.delta)
        names = dict.fromkeys(["sgd", *arguments.rivals.split(",")])
        methods = {label: as_draw(recipes) for label, recipes in map(contestant, names)}
        default = f"evaluate-{cell.name.replace(' ', '-')}.parquet"
        out = check_output(default if arguments.out is None else arguments.out, ".parquet")
        seeds = Seeds("score", arguments.instances), Seeds("tune", arguments.tuning)
        table = evaluate([cell], methods, *seeds, store=out, workers=arguments.workers, cluster=cluster)
    except ValueError as error:
        raise CommandError(str(error), status=2) from error
    except (RuntimeError, StoreError) as error:
        raise CommandError(str(error)) from error
    print(_report(by_cell(table)[cell.name]))
    print("\n".join(["", "tuned rates, and how likely other instances are to give each:", *_tuned(table)]))
    print(f"\nwrote {out} and {_draw(by_cell(table)[cell.name], out.with_suffix('.svg'))}")
    return 0


def _everything() -> str:
    """All that can be asked for by its name, a paragraph for each kind."""
    from metalearn_lib.evaluate.contestants import LEARNED, rivals
    from metalearn_lib.gradient_estimators import ESTIMATORS
    from metalearn_lib.inputs import INPUTS
    from metalearn_lib.shifts import SHIFTS
    from metalearn_lib.tasks import TASKS

    shifts = {
        name: f"{kind.lowest:g} to {kind.highest:g}: {kind.unit}; {kind.identity:g} changes nothing"
        for name, kind in SHIFTS.items()
    }
    kinds = {
        "shifts (--shift)": shifts,
        "task families (--family)": {name: kind.label for name, kind in TASKS.items()},
        "rivals (--rivals), each tuned on task A, or with @mixture or @B": {
            name: kind.label for name, kind in rivals().items()
        },
        "learned rules (--rivals), each with :FILE for other weights": {
            name: label for name, (label, *_) in LEARNED.items()
        },
        "inputs of the meta-optimizer (train --inputs)": {name: kind.label for name, kind in INPUTS.items()},
        "estimators (train --estimator)": {name: kind.label for name, kind in ESTIMATORS.items()},
    }
    return "\n\n".join(
        "\n".join([what, *(f"  {name:<18} {told}" for name, told in each.items())])
        for what, each in kinds.items()
    )


def _hold(arguments: argparse.Namespace, cluster: Cluster | None) -> int:
    from metalearn_lib.evaluate import StoreError, by_cell, evaluate
    from metalearn_lib.evaluate.registration import (
        SECOND,
        TrapSprung,
        check_traps,
        contestants,
        read_registration,
    )
    from metalearn_lib.evaluate.verdicts import judge
    from metalearn_lib.studies.tables import find_tables

    registered = read_registration().held()
    judged = {each.table: each for each in (registered, registered.amend(), read_registration(SECOND).judged)}
    try:
        found = find_tables(arguments.registered or list(judged))
    except ValueError as error:
        raise CommandError(str(error), status=2) from error
    for study, path in found:
        try:
            asked = study.cells, study.methods, study.score_seeds, study.tune_seeds
            store, workers = study.store(), arguments.workers
            table = evaluate(*asked, store=store, workers=workers, merge=True, cluster=cluster)
            if study.name in judged:
                registration = judged[study.name]
                labels = contestants(registration)[1]
                check_traps(registration, table, labels)
                verdicts = judge(registration, by_cell(table), labels)
                print(verdicts.drop(columns=["prior", "p"]).to_string())
        except ValueError as error:
            raise CommandError(str(error), status=2) from error
        except (RuntimeError, StoreError, TrapSprung) as error:
            raise CommandError(str(error)) from error
        print(f"wrote {path}: {len(table):,} runs")
    return 0


def _report(result: CellResult) -> str:
    """A line for each method."""
    lines = [
        f"{result.name}: gradient evaluations to the threshold, censored at {result.cap}",
        "",
        f"{'method':<36} {'times as fast as SGD':>24}  {'epochs':>7}  {'failed':>11}",
    ]
    for name, outcome in result.outcomes.items():
        failed = f"{result.num_failed(name)} of {outcome.steps.size}"
        lines.append(
            f"{name:<36} {result.speedup(name)!s:>24}  {result.mean_epochs(name):>7.2f}  {failed:>11}"
        )
    return "\n".join(lines)


def _tuned(table: pd.DataFrame) -> Iterator[str]:
    """A line for each method that was tuned."""
    rows = table[table["tuning"] != ""].groupby(["method", "choice"], observed=True, sort=False).first()
    for method, choices in rows.groupby("method", observed=True, sort=False):
        pairs = zip(choices["lr"], choices["weight"], strict=True)
        yield f"{method:<36} " + ", ".join(f"{lr:.3g} ({weight:.0%})" for lr, weight in pairs)


def _draw(result: CellResult, path: Path) -> Path:
    import matplotlib as mpl

    from metalearn_lib import plots
    from metalearn_lib.files import atomic_path

    mpl.use("Agg")
    plots.use_style()
    figure = plots.crossings(result).get_figure(root=True)
    assert figure is not None
    with atomic_path(path) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
    return path
