"""One command line for the library: `python -m metalearn_lib <command>`, or `metalearn <command>`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from metalearn_lib.evaluate import CellResult


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
    _add_evaluate(subparsers)
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
        "--registered",
        metavar="NAME",
        help="take settings and meta-seeds from the contest's registration, whose hash goes into the card",
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
        "vary_horizon": bool,
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
        "inputs": tuple,
        "controller": str,
        "learned_direction": str,
        "compile_step": bool,
        "max_nonfinite": float,
        "seed": int,
    }


def _registered(name: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a registered meta-training, and the hash for its card and the number of its meta-seeds."""
    from metalearn_lib.evaluate.registration import read_registration

    if name is None:
        return {}, {}
    registration = read_registration()
    if name not in registration.training:
        raise ValueError(f"{name!r} is not registered; there are {', '.join(registration.training)}.")
    facts = {"registration": registration.sha256, "meta_seeds": registration.meta_seeds}
    return registration.training[name], facts


def _run_train(arguments: argparse.Namespace) -> int:
    import torch

    from metalearn_lib.cards import load_theta, save_theta
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
        registered, more = _registered(arguments.registered)
        first_seed = {"seed": min(map(int, card["validation_loss"]))} | registered
        config = MetaTrainConfig(**card["config"] | first_seed | chosen)
        num_seeds = more.pop("meta_seeds", len(card["validation_loss"]))
        num_seeds = num_seeds if arguments.seeds is None else arguments.seeds
        best, every = meta_train_best(
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
    save_theta(arguments.out, best.theta, best.card | more, torch.stack([run.theta for run in every]))
    print(f"wrote {arguments.out}: meta-seed {best.card['config']['seed']}, validation loss by seed:")
    for seed, loss in best.card["validation_loss"].items():
        print(f"  {seed}: {loss:.4f}")
    return 0


def _add_evaluate(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "evaluate",
        help="put rivals and meta-optimizers to a shifted task",
        description="Train every rival on the same instances of one shifted task, print how soon each crosses the "
        "threshold, and write a row for every run (.parquet) and a figure (.svg). Rivals are tuned on task A; "
        "`adam@mixture` is tuned on A and its shifts, `adam@B` on the shifted task itself, on other instances. "
        "Started again, it goes on from what it has written.",
    )
    parser.add_argument("--shift", default="scale", metavar="NAME", help="which shift (default: scale)")
    parser.add_argument("--severity", type=float, metavar="S", help="how far; the shift's unit is its own")
    parser.add_argument(
        "--rivals",
        default="sgd,sgd@B,adam,meta",
        metavar="NAMES",
        help="who meets, with commas between (default: %(default)s); --list names them all",
    )
    parser.add_argument(
        "--registered",
        action="store_true",
        help="hold the registered contest instead, in the cells of its hypotheses, into results/contest.parquet",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="with --registered: in all of its cells with a threshold; takes hours",
    )
    parser.add_argument("--list", action="store_true", help="list the shifts and the rivals, and stop")
    parser.add_argument(
        "--instances", type=int, default=128, metavar="N", help="scored instances (default: 128)"
    )
    parser.add_argument("--tuning", type=int, default=32, metavar="N", help="tuning instances (default: 32)")
    parser.add_argument("--delta", type=float, default=0.1, help="the part of the loss left at the threshold")
    parser.add_argument("--out", metavar="FILE", help="the table (default: evaluate-SHIFT-SEVERITY.parquet)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    parser.set_defaults(run=_run_evaluate)


def _run_evaluate(arguments: argparse.Namespace) -> int:
    from dataclasses import replace
    from pathlib import Path

    from metalearn_lib.evaluate import StoreError, by_cell, evaluate, shifted_cell
    from metalearn_lib.evaluate.contestants import LEARNED, contestant, rivals
    from metalearn_lib.shifts import SHIFTS
    from metalearn_lib.types import Seeds

    if arguments.registered:
        return _hold(arguments)
    if arguments.list:
        for name, shift in SHIFTS.items():
            print(f"{name:<18} {shift.unit}; {shift.identity:g} changes nothing")
        print(f"\nrivals: {', '.join([*rivals(), *LEARNED])}")
        return 0
    try:
        severity = arguments.severity
        if severity is None:
            severity = SHIFTS[arguments.shift].identity if arguments.shift in SHIFTS else 0.0
        cell = replace(shifted_cell(arguments.shift, severity), delta=arguments.delta)
        methods = dict(contestant(name) for name in dict.fromkeys(["sgd", *arguments.rivals.split(",")]))
        out = Path(arguments.out or f"evaluate-{arguments.shift}-{severity:g}.parquet")
        seeds = Seeds("score", arguments.instances), Seeds("tune", arguments.tuning)
        table = evaluate([cell], methods, *seeds, store=out, workers=arguments.workers)
    except ValueError as error:
        raise CommandError(str(error), status=2) from error
    except (RuntimeError, StoreError) as error:
        raise CommandError(str(error)) from error
    print(_report(by_cell(table)[cell.name]))
    print(f"\nwrote {out} and {_draw(by_cell(table)[cell.name], out.with_suffix('.svg'))}")
    return 0


def _hold(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from metalearn_lib.evaluate import StoreError, by_cell
    from metalearn_lib.evaluate.registration import TrapSprung, hold, judge, read_registration

    out = Path(arguments.out or f"results/{'all' if arguments.all else 'contest'}.parquet")
    registration = read_registration() if arguments.all else read_registration().held()
    try:
        table, labels = hold(registration, out, arguments.workers)
    except (RuntimeError, StoreError, TrapSprung) as error:
        raise CommandError(str(error)) from error
    verdicts = judge(registration, by_cell(table), labels)
    print(verdicts.drop(columns=["prior", "p"]).to_string())
    print(f"\nwrote {out}: {len(table):,} runs under the registration {registration.sha256[:16]}")
    return 0


def _report(result: CellResult) -> str:
    """A line for each method."""
    lines = [
        f"{result.name}: gradient evaluations to the threshold, censored at {result.cap}",
        "",
        f"{'method':<36} {'times as fast as SGD':>24}  {'epochs':>7}  {'failed':>11}",
    ]
    for name, outcome in result.outcomes.items():
        failed = f"{outcome.num_failed} of {outcome.steps.size}"
        lines.append(
            f"{name:<36} {result.speedup(name)!s:>24}  {result.mean_epochs(name):>7.2f}  {failed:>11}"
        )
    return "\n".join(lines)


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
