"""Several meta-seeds: side by side, judged on validation tasks, and the best of them."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metalearn_lib.cluster import Cluster
from metalearn_lib.cores import available_cores, one_thread
from metalearn_lib.files import atomic_path
from metalearn_lib.gradient_estimators import meta_loss, unroll
from metalearn_lib.inner_loop import draw_instances
from metalearn_lib.meta_train.checkpoint import refuse_to_overwrite
from metalearn_lib.meta_train.config import MetaTrainConfig
from metalearn_lib.meta_train.outer_loop import Trained, meta_train
from metalearn_lib.meta_train.problems import Problems
from metalearn_lib.meta_train.quantiles import input_quantiles
from metalearn_lib.meta_train.workers import in_torchrun
from metalearn_lib.pools import open_pool
from metalearn_lib.progress import progress_bar
from metalearn_lib.types import Seeds


def validation_loss(config: MetaTrainConfig, theta: Tensor, num_tasks: int = 128) -> float:
    """Meta-loss of `theta` on validation tasks, with base rates spread evenly over the config's decades.

    The tasks come from the config's validation families, or else from those that it trains on, in the set-ups that do
    not vary; the mean over its directions, over the architectures, and over the families by their share.
    """
    judged = replace(config, families=config.validation_families or config.families)
    seeds = Seeds("validate", num_tasks)
    decades = torch.linspace(-config.base_lr_decades, config.base_lr_decades, num_tasks)
    total = torch.zeros(())
    with one_thread(), torch.no_grad():
        for share, set_up in Problems(judged).usual_set_ups:
            learner = set_up.learner()
            fast, kind = Problems(config).fast(learner)
            instances = draw_instances(set_up.family, learner, seeds, config.horizon, config.batch_size)
            for name in config.directions:
                loop = config.loop(name, fast, config.centre(name) * 10**decades, theta, kind)
                _, info = unroll(loop, instances, held_out_every=config.held_out_every)
                total = total + share / len(config.directions) * meta_loss(info).mean()
    return float(total)


def meta_train_many(
    configs: Sequence[MetaTrainConfig], workers: int | None = None, progress: bool = True
) -> list[Trained]:
    """Train every config, a process to each, and validate it; the card of each has its own validation loss.

    Args:
        workers: processes; the machine's cores by default. 1 trains in this process.
        progress: whether to draw a progress bar over the runs.
    """
    calls = {number: partial(_train_and_validate, config) for number, config in enumerate(configs)}
    with open_pool(workers, len(calls)) as results:
        trained = dict(progress_bar(len(calls), "meta-training", "run", progress, results(calls)))
    return [trained[number] for number in calls]


def _train_and_validate(config: MetaTrainConfig) -> Trained:
    trained = meta_train(config, progress=False)
    losses = {str(config.seed): validation_loss(config, trained.theta)}
    return trained._replace(card=trained.card | {"validation_loss": losses})


def meta_train_best(
    config: MetaTrainConfig,
    num_seeds: int,
    workers: int | None = None,
    progress: bool = True,
    runs: str | os.PathLike[str] | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    cluster: Cluster | None = None,
) -> tuple[Trained, list[Trained]]:
    """Train with meta-seeds from `config.seed` on; the best on *validation* tasks, and all of them.

    Meta-seeds run side by side, a process to each; a single one, or any under torchrun, is shared by the
    workers. The card of the best names every seed's validation loss, counts what the discarded ones cost too, and says
    where its inputs lay.

    Args:
        workers: processes; the machine's cores by default.
        runs: a folder that keeps each meta-seed's checkpoint, log and TensorBoard files.
        resume: go on from the checkpoints in `runs`.
        tensorboard: whether to write TensorBoard's files, under `runs`.
        cluster: whose workers train instead, one a meta-seed. Where one does not see `runs`, a meta-seed that is lost
            with its worker begins again; one that has ended is kept in any case.

    Raises:
        ValueError: for fewer than one seed or worker, or TensorBoard without `runs` or with a cluster.
        CheckpointError: as `meta_train`.
        WorkerFailed: when a worker is lost.
    """
    if num_seeds < 1 or (workers is not None and workers < 1):
        raise ValueError(f"num_seeds={num_seeds}, workers={workers}: both must be 1 or more.")
    if tensorboard and (runs is None or cluster is not None):
        raise ValueError(
            "tensorboard needs a folder beside the process that trains; pass runs=..., and no cluster."
        )
    configs = [replace(config, seed=config.seed + offset) for offset in range(num_seeds)]

    if cluster is not None:
        trained = _train_on(cluster, configs, runs, resume, progress)
    else:
        trained = _train_here(configs, workers or available_cores(), progress, runs, resume, tensorboard)
    validated = [
        run._replace(card=run.card | {"validation_loss": {str(each.seed): validation_loss(each, run.theta)}})
        for each, run in zip(configs, trained, strict=True)
    ]
    best = deployed(validated)
    if config.controller == "network":
        lay = input_quantiles(config, best.theta)
        best = best._replace(card=best.card | {"input_quantiles": lay})
    return best, validated


def _train_here(
    configs: Sequence[MetaTrainConfig],
    workers: int,
    progress: bool,
    runs: str | os.PathLike[str] | None,
    resume: bool,
    tensorboard: bool,
) -> list[Trained]:
    def train(config: MetaTrainConfig, progress: bool, workers: int) -> partial[Trained]:
        kept = Kept.of(runs, config)
        writer = None if kept is None or not tensorboard else kept.checkpoint.with_suffix(".tensorboard")
        files = (
            (None, 25, resume, None, writer)
            if kept is None
            else (kept.checkpoint, 25, resume, kept.log, writer)
        )
        return partial(meta_train, config, progress, workers, *files)

    if len(configs) == 1 or workers == 1 or in_torchrun():
        return [train(config, progress, min(workers, len(config.chunks)))() for config in configs]
    calls = {number: train(config, progress and not number, 1) for number, config in enumerate(configs)}
    with open_pool(workers, len(calls)) as results:
        trained = dict(results(calls))
    return [trained[number] for number in calls]


class Kept(NamedTuple):
    """Where one meta-seed is kept."""

    checkpoint: Path
    log: Path

    @classmethod
    def of(cls, runs: str | os.PathLike[str] | None, config: MetaTrainConfig) -> Kept | None:
        if runs is None:
            return None
        here = Path(runs).absolute() / f"seed-{config.seed}"
        return cls(here.with_suffix(".checkpoint"), here.with_suffix(".jsonl"))


def _train_on(
    cluster: Cluster,
    configs: Sequence[MetaTrainConfig],
    runs: str | os.PathLike[str] | None,
    resume: bool,
    progress: bool,
) -> list[Trained]:
    """Train on a cluster's workers, and keep here what they keep."""
    trained: dict[str, Trained] = {}
    with _marked(runs) as mark, open_pool(cluster=cluster, progress=progress) as results:
        calls = {}
        for config in configs:
            kept = Kept.of(runs, config)
            if kept is not None:
                refuse_to_overwrite(kept.checkpoint, resume)
            here = {path: path.read_bytes() for path in kept or () if path.exists()}
            calls[f"meta-seed {config.seed}"] = partial(_train_there, config, kept, mark, here)
        with progress_bar(len(calls), "meta-training", "run", progress, results(calls)) as bar:
            for name, (each, files) in bar:
                trained[name] = each
                for path, content in files.items():
                    with atomic_path(path) as part:
                        part.write_bytes(content)
    return [trained[name] for name in calls]


@contextmanager
def _marked(runs: str | os.PathLike[str] | None) -> Iterator[str]:
    """A word that lies in a folder, by which a worker knows whether it sees this very one."""
    word = secrets.token_hex(8)
    if runs is None:
        yield word
        return
    mark = Path(runs) / f".{word}"
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield word
    finally:
        mark.unlink(missing_ok=True)


def _train_there(
    config: MetaTrainConfig, kept: Kept | None, mark: str, before: dict[Path, bytes]
) -> tuple[Trained, dict[Path, bytes]]:
    """On a cluster's worker: the trained meta-seed, and the files to keep that are not where they belong."""
    if kept is None:
        return meta_train(config, progress=False), {}
    train = partial(meta_train, config, progress=False, resume=True)
    if (kept.checkpoint.parent / f".{mark}").exists():
        return train(checkpoint=kept.checkpoint, log=kept.log), {}
    with tempfile.TemporaryDirectory(prefix="metalearn-") as folder:
        here = {path: Path(folder) / path.name for path in kept}
        for path, content in before.items():
            here[path].write_bytes(content)
        trained = train(checkpoint=here[kept.checkpoint], log=here[kept.log])
        return trained, {path: there.read_bytes() for path, there in here.items()}


def deployed(trained: Sequence[Trained]) -> Trained:
    """The best meta-seed on validation tasks; its card names every seed's loss, and counts what all of them cost."""
    losses = {seed: loss for run in trained for seed, loss in run.card["validation_loss"].items()}
    best = trained[min(range(len(trained)), key=list(losses.values()).__getitem__)]
    cost = sum(run.card["gradient_evaluations"] for run in trained)
    return best._replace(card=best.card | {"validation_loss": losses, "gradient_evaluations_all_seeds": cost})
