"""Several meta-seeds: side by side, judged on validation tasks, and the best of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metalearn_lib.cores import available_cores, one_thread, process_pool
from metalearn_lib.gradient_estimators import meta_loss, unroll
from metalearn_lib.inner_loop import draw_instances
from metalearn_lib.meta_train.config import MetaTrainConfig
from metalearn_lib.meta_train.outer_loop import Trained, meta_train
from metalearn_lib.meta_train.problems import Problems
from metalearn_lib.meta_train.quantiles import input_quantiles
from metalearn_lib.meta_train.workers import in_torchrun
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
    workers = min(workers or available_cores(), len(configs))
    bar = partial(progress_bar, len(configs), "meta-training", "run", progress)
    if workers == 1:
        return list(bar(map(_train_and_validate, configs)))
    with process_pool(workers) as pool:
        return list(bar(pool.map(_train_and_validate, configs)))


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

    Raises:
        ValueError: for fewer than one seed or worker, or TensorBoard without `runs`.
    """
    if num_seeds < 1 or (workers is not None and workers < 1):
        raise ValueError(f"num_seeds={num_seeds}, workers={workers}: both must be 1 or more.")
    if tensorboard and runs is None:
        raise ValueError("tensorboard needs a folder; pass runs=...")
    configs = [replace(config, seed=config.seed + offset) for offset in range(num_seeds)]

    def arguments(each: MetaTrainConfig, progress: bool, workers: int) -> tuple[Any, ...]:
        kept = (None, 25, resume, None, None)
        if runs is not None:
            here = Path(runs) / f"seed-{each.seed}"
            writer = here.with_suffix(".tensorboard") if tensorboard else None
            kept = (here.with_suffix(".checkpoint"), 25, resume, here.with_suffix(".jsonl"), writer)
        return (each, progress, workers, *kept)

    workers = workers or available_cores()
    if num_seeds == 1 or workers == 1 or in_torchrun():
        inside = min(workers, len(config.chunks))
        trained = [meta_train(*arguments(each, progress, inside)) for each in configs]
    else:
        with process_pool(min(workers, num_seeds)) as pool:
            tasks = [arguments(each, progress and not n, 1) for n, each in enumerate(configs)]
            trained = list(pool.map(meta_train, *zip(*tasks, strict=True)))
    validated = [
        run._replace(card=run.card | {"validation_loss": {str(each.seed): validation_loss(each, run.theta)}})
        for each, run in zip(configs, trained, strict=True)
    ]
    best = deployed(validated)
    if config.controller == "network":
        lay = input_quantiles(config, best.theta)
        best = best._replace(card=best.card | {"input_quantiles": lay})
    return best, validated


def deployed(trained: Sequence[Trained]) -> Trained:
    """The best meta-seed on validation tasks; its card names every seed's loss, and counts what all of them cost."""
    losses = {seed: loss for run in trained for seed, loss in run.card["validation_loss"].items()}
    best = trained[min(range(len(trained)), key=list(losses.values()).__getitem__)]
    cost = sum(run.card["gradient_evaluations"] for run in trained)
    return best._replace(card=best.card | {"validation_loss": losses, "gradient_evaluations_all_seeds": cost})
