"""`metalearn notebooks`: execute what no longer holds."""

from __future__ import annotations

import argparse
import os

from metalearn_lib.cli import CommandError, add_cluster, cluster_of


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "notebooks",
        help="execute the notebooks whose result no longer holds",
        description="Execute every notebook of notebooks/runs.yml whose cells, parameters, library code or "
        "package versions have changed since its copy in book/experiments/ was made; "
        "`jupyter-book build book` does this too.",
    )
    parser.add_argument(
        "--profile",
        default=os.environ.get("METALEARN_PROFILE", "standard"),
        metavar="{quick,standard,full}",
        help="which parameters of runs.yml to take (default: $METALEARN_PROFILE, or standard)",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="run these alone, by their `output` in runs.yml"
    )
    parser.add_argument("--force", action="store_true", help="execute also what has not changed")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="notebooks at a time (default: one for each core)"
    )
    add_cluster(parser)
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="the repository (default: the one you are in)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from metalearn_lib.report.runner import run_notebooks
    from metalearn_lib.report.runs import RunsError, find_root

    try:
        report = run_notebooks(
            arguments.root or find_root("."),
            arguments.profile,
            only=arguments.only,
            force=arguments.force,
            jobs=arguments.jobs,
            cluster=cluster_of(arguments, "jobs"),
        )
    except RunsError as error:
        raise CommandError(str(error), status=2) from error
    except RuntimeError as error:  # a notebook failed, or a worker
        raise CommandError(str(error)) from error
    told = [f"ran {', '.join(report.ran)}"] if report.ran else []
    told += [f"nothing has changed in {', '.join(report.fresh)}"] if report.fresh else []
    print("; ".join(told))
    return 0
