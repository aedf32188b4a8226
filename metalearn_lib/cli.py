"""One command line for the library: `python -m metalearn_lib <command>`, or `metalearn <command>`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence


class CommandError(Exception):
    """What ends a command with one message on standard error and no traceback of ours."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 (it failed), 2 (it was asked wrongly), 130 (it was interrupted)."""
    parser = argparse.ArgumentParser(
        prog="metalearn", description="A neural network that learns to set the learning rate of another."
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(subparsers)
    _add_notebooks(subparsers)
    _add_pdf(subparsers)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments)
    except CommandError as error:
        print(f"metalearn: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt as stop:
        print(f"\nmetalearn: {str(stop) or 'interrupted'}", file=sys.stderr)
        return 130


def _add_train(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "train",
        help="meta-train a meta-optimizer",
        description="Meta-train the meta-optimizer on task A, with one meta-seed or several, and write the best on "
        "validation tasks. `metalearn train --like sgd --out sgd.safetensors` gives the shipped file again.",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="where to write theta and its card (.safetensors)"
    )
    parser.add_argument(
        "--like", metavar="NAME", help="take the settings from the card of a shipped name or a file"
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="meta-seeds to choose among (default: 1, or the card's)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    parser.add_argument(
        "--runs",
        metavar="DIR",
        help="where checkpoints and logs of each meta-seed are kept (default: FILE.runs)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the checkpoints, where there are any"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard's files beside the checkpoints"
    )
    settings = parser.add_argument_group("settings, each in place of the default or the card's")
    for name, kind in _settings().items():
        flag = f"--{name.replace('_', '-')}"
        if kind is bool:
            settings.add_argument(flag, action=argparse.BooleanOptionalAction)
        elif kind is tuple:
            settings.add_argument(flag, nargs="+", metavar="NAME")
        else:
            settings.add_argument(flag, type=kind, metavar=kind.__name__.upper())
    parser.set_defaults(run=_run_train)


def _settings() -> dict[str, type]:
    """Names and types of `MetaTrainConfig`'s fields, without importing torch for a `--help`."""
    return {
        "direction": str,
        "base_lr": float,
        "base_lr_decades": float,
        "families": tuple,
        "vary_setup": bool,
        "estimator": str,
        "truncation_length": int,
        "num_tasks": int,
        "tasks_per_chunk": int,
        "horizon": int,
        "batch_size": int,
        "outer_steps": int,
        "outer_lr": float,
        "sigma": float,
        "hidden": int,
        "compile_step": bool,
        "max_nonfinite": float,
        "seed": int,
    }


def _run_train(arguments: argparse.Namespace) -> int:
    from metalearn_lib.meta_optimizers import load_theta, save_theta
    from metalearn_lib.meta_train import MetaTrainConfig, MetaTrainingFailed, WorkerFailed, meta_train_best

    try:
        card = (
            load_theta(arguments.like)[1]
            if arguments.like
            else {"config": {}, "validation_loss": {"0": None}}
        )
        chosen = {
            name: getattr(arguments, name) for name in _settings() if getattr(arguments, name) is not None
        }
        first_seed = {"seed": min(map(int, card["validation_loss"]))}
        config = MetaTrainConfig(**card["config"] | first_seed | chosen)
        num_seeds = len(card["validation_loss"]) if arguments.seeds is None else arguments.seeds
        best, _ = meta_train_best(
            config,
            num_seeds,
            arguments.workers,
            runs=arguments.runs or f"{arguments.out}.runs",
            resume=arguments.resume,
            tensorboard=arguments.tensorboard,
        )
    except ValueError as error:
        raise CommandError(str(error), status=2) from error
    except (MetaTrainingFailed, WorkerFailed) as error:
        raise CommandError(str(error)) from error
    if int(os.environ.get("RANK", 0)) > 0:  # under torchrun one worker writes
        return 0
    save_theta(arguments.out, best.theta, best.card)
    print(f"wrote {arguments.out}: meta-seed {best.card['config']['seed']}, validation loss by seed:")
    for seed, loss in best.card["validation_loss"].items():
        print(f"  {seed}: {loss:.4f}")
    return 0


def _add_notebooks(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="the repository (default: the one you are in)",
    )
    parser.set_defaults(run=_run_notebooks)


def _run_notebooks(arguments: argparse.Namespace) -> int:
    from metalearn_lib.report.runner import NotebooksFailed, run_notebooks
    from metalearn_lib.report.runs import RunsError, find_root

    try:
        report = run_notebooks(
            arguments.root or find_root("."),
            arguments.profile,
            only=arguments.only,
            force=arguments.force,
            jobs=arguments.jobs,
        )
    except RunsError as error:
        raise CommandError(str(error), status=2) from error
    except NotebooksFailed as error:
        raise CommandError(str(error)) from error
    told = [f"ran {', '.join(report.ran)}"] if report.ran else []
    told += [f"nothing has changed in {', '.join(report.fresh)}"] if report.fresh else []
    print("; ".join(told))
    return 0


def _add_pdf(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "pdf",
        help="print the book",
        description="Build the book as one page, and print it with Chromium, Chrome or Edge. METALEARN_PROFILE "
        "says with which parameters the notebooks run.",
    )
    parser.add_argument(
        "--out", default="book.pdf", metavar="FILE", help="where to write it (default: book.pdf)"
    )
    parser.add_argument("--root", metavar="DIR", help="the repository (default: the one you are in)")
    parser.set_defaults(run=_run_pdf)


def _run_pdf(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from metalearn_lib.report.pdf import PdfError, make_pdf
    from metalearn_lib.report.runs import RunsError

    try:
        make_pdf(Path(arguments.out), arguments.root and Path(arguments.root))
    except RunsError as error:
        raise CommandError(str(error), status=2) from error
    except PdfError as error:
        raise CommandError(str(error)) from error
    print(f"wrote {arguments.out}")
    return 0
