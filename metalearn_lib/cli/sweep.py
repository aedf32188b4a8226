"""`metalearn sweep`: a notebook at every combination of some parameters."""

from __future__ import annotations

import argparse
from pathlib import Path

from metalearn_lib.cli import CommandError, add_cluster, cluster_of


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "sweep",
        help="execute a notebook at every combination of some parameters",
        description="Execute a notebook at every combination of parameters, several at a time, and gather what it "
        "found: the executed notebooks, sweep.parquet with a row for each setting and a column for each number that "
        "the notebook glues, and index.html with the figures side by side. All settings are checked before the first "
        "runs; what is done is not done again, and one that fails stops no other.",
        epilog="example: metalearn sweep notebooks/task_shift.ipynb -p shift_family=scale,translate -p shift=1,2,4 "
        "--out sweeps/shift --plot b_meta",
    )
    parser.add_argument("notebook", help="a notebook with a `parameters` cell")
    parser.add_argument(
        "-p",
        dest="values",
        action="append",
        default=[],
        metavar="NAME=A,B,C",
        help="a parameter and its values, as YAML has them; once for each parameter",
    )
    parser.add_argument(
        "--parameters",
        type=Path,
        metavar="FILE",
        help="more of them: a YAML file, a list of values to each name",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where all of it goes")
    parser.add_argument(
        "--plot",
        nargs="+",
        default=[],
        metavar="NUMBER",
        help="draw numbers that the notebook glues over the one or two parameters that vary",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="notebooks at a time (default: one for each core)"
    )
    add_cluster(parser)
    parser.add_argument("--force", action="store_true", help="execute also what is done")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from metalearn_lib.report.runs import RunsError
    from metalearn_lib.report.sweep import PAGE, read_grid, read_values, sweep

    try:
        grid = read_grid(arguments.parameters) if arguments.parameters else {}
        for name, values in map(read_values, arguments.values):
            if name in grid:
                raise RunsError(f"{name} is given twice; name all its values at once: -p {name}=a,b,c")
            grid[name] = values
        if not grid:
            raise RunsError("nothing varies; give a parameter its values, e.g. -p shift=1,2,4")
        swept = sweep(
            arguments.notebook,
            grid,
            arguments.out,
            jobs=arguments.jobs,
            force=arguments.force,
            plots=arguments.plot,
            cluster=cluster_of(arguments, "jobs"),
        )
    except RunsError as fault:
        raise CommandError(str(fault), status=2) from fault
    except RuntimeError as fault:  # a worker is lost
        raise CommandError(str(fault)) from fault
    print(f"{len(swept.ran)} ran, {len(swept.fresh)} had been done; see {arguments.out / PAGE}")
    if swept.faults:
        told = "\n\n".join(f"{name}:\n{fault}" for name, fault in swept.faults.items())
        raise CommandError(f"{len(swept.faults)} did not run to their end, and the rest is kept.\n\n{told}")
    return 0
