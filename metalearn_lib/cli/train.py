"""`metalearn train`: meta-train a meta-optimizer."""

from __future__ import annotations

import argparse
import os
from typing import Any

from metalearn_lib.cli import CommandError, add_cluster, cluster_of
from metalearn_lib.cli.settings import settings


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        help="take settings and meta-seeds from a contest's registration, whose hash goes into the card",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="meta-seeds to choose among (default: 1, or the card's)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    add_cluster(parser)
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
    group = parser.add_argument_group("settings, each in place of the default or the card's")
    for each in settings():
        flag = f"--{each.name.replace('_', '-')}"
        if each.kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=each.help)
        elif each.kind is tuple:
            group.add_argument(flag, nargs="+", metavar="NAME", help=each.help)
        else:
            group.add_argument(flag, type=each.kind, metavar=each.kind.__name__.upper(), help=each.help)
    parser.set_defaults(run=_run)


def _registered(name: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a registered meta-training, and the hash for its card and the number of its meta-seeds."""
    from metalearn_lib.evaluate.registration import PREREGISTRATION, SECOND, read_registration

    if name is None:
        return {}, {}
    by_name = {
        each: one for one in map(read_registration, (PREREGISTRATION, SECOND)) for each in one.training
    }
    if name not in by_name:
        raise ValueError(f"{name!r} is not registered; there are {', '.join(by_name)}.")
    registration = by_name[name]
    facts = {"registration": registration.sha256, "meta_seeds": registration.meta_seeds}
    return registration.training[name], facts


def _run(arguments: argparse.Namespace) -> int:
    import torch

    from metalearn_lib.cards import load_theta, save_theta
    from metalearn_lib.files import check_output
    from metalearn_lib.meta_train import MetaTrainConfig, MetaTrainingFailed, WorkerFailed, meta_train_best

    cluster = cluster_of(arguments, "workers")
    try:
        if check_output(arguments.out, ".safetensors").exists():
            load_theta(arguments.out)  # refused where it is no rule, which would be lost
        card = (
            load_theta(arguments.like)[1]
            if arguments.like
            else {"config": {}, "validation_loss": {"0": None}}
        )
        chosen = {
            each.name: value for each in settings() if (value := getattr(arguments, each.name)) is not None
        }
        registered, more = _registered(arguments.registered)
        first_seed = {"seed": min(map(int, card["validation_loss"]))} | registered
        if chosen.get("controller") == "schedule":
            card["config"].pop("inputs", None)  # which the card's own network sees, and a schedule does not
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
            cluster=cluster,
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
