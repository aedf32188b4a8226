"""The outer loop: estimate, reduce in a fixed order, update theta; and keep what a resumed run needs."""

from __future__ import annotations

import math
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metalearn_lib import __version__
from metalearn_lib.cards import complete
from metalearn_lib.cores import one_thread
from metalearn_lib.gradient_estimators import Estimate, Problem
from metalearn_lib.meta_train.checkpoint import (
    CheckpointError,
    load_checkpoint,
    refuse_to_overwrite,
    save_checkpoint,
    sole_writer,
)
from metalearn_lib.meta_train.config import MetaTrainConfig
from metalearn_lib.meta_train.problems import Problems
from metalearn_lib.meta_train.set_ups import Life
from metalearn_lib.meta_train.watch import Watch
from metalearn_lib.meta_train.workers import Group, stop_request, worker_group
from metalearn_lib.trees import fill, leaves

OUTER_BETAS = (0.9, 0.99)
"""Adam's on theta: gradients are noisy, and few."""


class MetaTrainingFailed(RuntimeError):
    """Meta-training met too many runs that are no numbers."""


class Trained(NamedTuple):
    """A meta-optimizer, and how it came about."""

    theta: Tensor
    """`(theta,)`"""
    history: dict[str, list[float]]
    """per outer step: meta_loss; gradient_norm; largest_task_norm, the longest of the single tasks'
    estimates; and nonfinite, the runs whose loss or gradient was no number"""
    card: dict[str, Any]


class Keeping(NamedTuple):
    """Where and how often a run is kept, and how it is watched; nothing here changes theta."""

    checkpoint: str | os.PathLike[str] | None = None
    every: int = 25
    resume: bool = False
    log: str | os.PathLike[str] | None = None
    tensorboard: str | os.PathLike[str] | None = None
    progress: bool = True


def meta_train(
    config: MetaTrainConfig,
    progress: bool = True,
    workers: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 25,
    resume: bool = False,
    log: str | os.PathLike[str] | None = None,
    tensorboard: str | os.PathLike[str] | None = None,
) -> Trained:
    """Train theta, rewarded for loss improvement at every step of fresh tasks.

    The same config gives the same theta, bit for bit, on the same machine: with any number of workers (tasks
    and perturbations are keyed by their number, and chunks are added in their order, in float64), and whether
    or not the run was killed and resumed. Under torchrun the group that it made is used; `workers` is then
    ignored.

    Args:
        config: what decides theta.
        progress: whether to draw a progress bar.
        workers: processes, this one included; each works on every so many-th chunk, so no more than there are
            chunks are of use.
        checkpoint: a file that keeps the run, every `every` outer steps, at the end, and on Ctrl-C or
            SIGTERM.
        every: outer steps between two checkpoints.
        resume: go on from `checkpoint`; where there is none yet, the run starts.
        log: a file for one JSON line at every outer step; `read_log` reads it.
        tensorboard: a folder for TensorBoard.

    Raises:
        ValueError: for more workers than chunks, or runs that take more memory than there is.
        CheckpointError: when the checkpoint is damaged, foreign, another run's, there without `resume`, or being
            written by another process.
        MetaTrainingFailed: when too many runs are no numbers.
        WorkerFailed: when a worker dies.
        KeyboardInterrupt: after Ctrl-C, once the checkpoint is written.
    """
    config.check_memory()
    if not 1 <= workers <= len(config.chunks):
        raise ValueError(
            f"workers={workers} must lie in 1 to {len(config.chunks)}, the chunks of an outer step."
        )
    if every < 1:
        raise ValueError(f"every={every} must be 1 or more outer steps.")
    keeping = Keeping(checkpoint, every, resume, log, tensorboard, progress)
    if checkpoint is not None and Path(checkpoint).exists():
        refuse_to_overwrite(checkpoint, resume)
        _load(config, keeping)  # a bad one is refused before any process starts
    with (
        worker_group(workers, _train, (config, keeping)) as group,
        stop_request() as asked,
        sole_writer(checkpoint if group.rank == 0 else None),
    ):
        return _train(group, config, keeping, asked)


class _Run(NamedTuple):
    """A run between two outer steps."""

    outer_step: int
    cost: int
    history: dict[str, list[float]]


def _train(group: Group, config: MetaTrainConfig, keeping: Keeping, asked: Any = lambda: False) -> Trained:
    theta = torch.nn.Parameter(config.init_theta())
    outer_optimizer = torch.optim.Adam([theta], betas=OUTER_BETAS)
    theta.grad = torch.zeros_like(theta)
    outer_optimizer.step()  # makes its state, whose tensors are then set
    moments = outer_optimizer.state[theta]
    for each, value in ((theta, config.init_theta()), *((moment, 0.0) for moment in moments.values())):
        each.data.copy_(torch.as_tensor(value))
    estimator, drawn = config.make_estimator(), Problems(config)
    mine = range(group.rank, len(config.chunks), group.size)
    run = _Run(0, 0, {name: [] for name in ("meta_loss", "gradient_norm", "largest_task_norm", "nonfinite")})

    with one_thread(), torch.no_grad():
        tensors = None
        if keeping.resume and keeping.checkpoint is not None and Path(keeping.checkpoint).exists():
            tensors, run = _load(config, keeping)
        # where runs go on, they are in the set-up of the last outer step
        lives = {chunk: drawn.life(chunk, max(run.outer_step - 1, 0)) for chunk in mine}
        problems = {chunk: _problem(drawn, chunk, life) for chunk, life in lives.items()}
        states = {chunk: estimator.init(problem, theta.detach()) for chunk, problem in problems.items()}
        seen = [int(step) for step in group.gather(torch.tensor([run.outer_step]))]
        if len(set(seen)) > 1:
            raise CheckpointError(
                f"workers see {keeping.checkpoint} at outer steps {seen}; put it on a file system that all "
                "of them share."
            )
        if tensors is not None:
            for name, tensor in {"theta": theta, **moments}.items():
                tensor.copy_(tensors[name])
            for chunk, state in states.items():
                kept = [tensors[f"chunk{chunk}.{number}"] for number in range(len(leaves(state)))]
                states[chunk] = fill(state, kept)

        def save() -> None:
            parts = {
                f"chunk{chunk}.{n}": leaf
                for chunk, state in states.items()
                for n, leaf in enumerate(leaves(state))
            }
            parts = group.gather_tensors(parts)
            if parts is not None and keeping.checkpoint is not None:
                facts = {"config": asdict(config), **run._asdict()}
                save_checkpoint(Path(keeping.checkpoint), {"theta": theta, **moments, **parts}, facts)

        watch = None
        if group.rank == 0:
            label = f"meta-training, seed {config.seed}"
            watch = Watch(
                config.outer_steps, run.outer_step, label, keeping.progress, keeping.log, keeping.tensorboard
            )
        try:
            while run.outer_step < config.outer_steps:
                rows = []
                for chunk in mine:
                    generator = config.generator(run.outer_step + 1, chunk)
                    if not estimator.persistent:
                        set_up = drawn.set_up(run.outer_step, chunk, generator)
                        problems[chunk] = drawn.problem(chunk, set_up)
                    elif (life := drawn.life(chunk, run.outer_step, lives[chunk])).number != lives[
                        chunk
                    ].number:
                        lives[chunk], problems[chunk] = life, _problem(drawn, chunk, life)
                        states[chunk] = estimator.init(problems[chunk], theta.detach())
                    problem, state = problems[chunk], states[chunk]
                    estimate, states[chunk] = estimator(state, theta.detach(), problem, generator)
                    rows.append(_pack(estimate))
                total, stop = _reduce(group, config, rows, asked())
                _check(config, total, run.outer_step)
                theta.grad = total.gradient
                outer_optimizer.param_groups[0]["lr"] = outer_lr(config, run.outer_step)
                outer_optimizer.step()
                values = {
                    "meta_loss": float(total.meta_loss),
                    "gradient_norm": float(total.gradient.norm()),
                    "largest_task_norm": float(total.task_norms.max()),
                    "nonfinite": float(total.num_nonfinite),
                }
                for name, value in values.items():
                    run.history[name].append(value)
                run = run._replace(outer_step=run.outer_step + 1, cost=run.cost + total.num_gradients)
                if watch is not None:
                    watch.tell(run.outer_step - 1, values, config.num_tasks, total.num_gradients)
                last = run.outer_step == config.outer_steps
                if keeping.checkpoint is not None and (stop or last or run.outer_step % keeping.every == 0):
                    save()
                if stop and not last:
                    kept = (
                        f"; resume from {keeping.checkpoint}" if keeping.checkpoint else ", nothing was kept"
                    )
                    raise KeyboardInterrupt(f"stopped after outer step {run.outer_step}{kept}")
        finally:
            if watch is not None:
                watch.close()
    card = {
        "config": asdict(config),
        "estimator": repr(estimator),
        "family": " | ".join(repr(family) for _, family in drawn.shapes),
        "gradient_evaluations": run.cost,
        "versions": {
            "metalearn_lib": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    return Trained(theta.detach(), run.history, complete(card))


def _problem(drawn: Problems, chunk: int, life: Life) -> Problem:
    return drawn.problem(chunk, life.set_up, life.number, life.start)


def outer_lr(config: MetaTrainConfig, outer_step: int) -> float:
    """A cosine from `outer_lr` to a twentieth of it."""
    fraction = (1 + math.cos(math.pi * outer_step / config.outer_steps)) / 2
    return config.outer_lr * (0.05 + 0.95 * fraction)


def _pack(estimate: Estimate) -> Tensor:
    """An estimate as one row of float64: counts, then the gradient."""
    facts = (
        estimate.meta_loss,
        estimate.task_norms.max(),
        estimate.num_nonfinite,
        estimate.num_runs,
        estimate.num_gradients,
    )
    return torch.cat(
        [torch.tensor([float(fact) for fact in facts], dtype=torch.float64), estimate.gradient.double()]
    )


def _reduce(group: Group, config: MetaTrainConfig, rows: list[Tensor], asked: bool) -> tuple[Estimate, bool]:
    """The estimate over all tasks, the same at every worker, and whether any of them was asked to stop.

    Chunks are added in their order, not in the workers', so the sum does not depend on who did what.
    """
    each = -(-len(config.chunks) // group.size)
    empty = torch.zeros(each - len(rows), len(rows[0]), dtype=torch.float64)
    mine = torch.cat([torch.stack(rows), empty])
    request = torch.full((1, mine.shape[1]), float(asked), dtype=torch.float64)
    gathered = group.gather(torch.cat([mine, request]))
    total = torch.zeros_like(rows[0])
    largest = torch.zeros((), dtype=torch.float64)
    for chunk, size in enumerate(config.chunks):
        row = gathered[chunk % group.size][chunk // group.size]
        share = size / config.num_tasks
        largest = torch.maximum(largest, row[1])
        total = total + torch.cat([row[:2] * share, row[2:5], row[5:] * share])
    broken, runs, cost = (int(number) for number in total[2:5])
    estimate = Estimate(total[5:].float(), total[0], largest[None], broken, runs, cost)
    return estimate, any(bool(part[-1, 0]) for part in gathered)


def _check(config: MetaTrainConfig, total: Estimate, outer_step: int) -> None:
    if total.num_nonfinite > config.max_nonfinite * total.num_runs:
        raise MetaTrainingFailed(
            f"{total.num_nonfinite} of {total.num_runs} runs of outer step {outer_step} stopped being "
            f"numbers, more than max_nonfinite={config.max_nonfinite}; lower base_lr or base_lr_decades, or "
            "shorten the truncation."
        )
    if not total.gradient.isfinite().all():
        raise MetaTrainingFailed(
            f"the gradient of outer step {outer_step} is not finite; lower sigma or shorten the truncation."
        )


def _load(config: MetaTrainConfig, keeping: Keeping) -> tuple[dict[str, Tensor], _Run]:
    assert keeping.checkpoint is not None
    path = Path(keeping.checkpoint)
    tensors, facts = load_checkpoint(path)
    run = _Run(facts["outer_step"], facts["cost"], facts["history"])
    differences = config.differences(facts["config"])
    if differences:
        raise CheckpointError(
            f"{path} is another run's: it has {differences}; resume with its settings, or name another file."
        )
    return tensors, run


def mean_estimate(config: MetaTrainConfig, theta: Tensor, calls: int) -> Tensor:
    """The mean of `calls` estimates at a theta that stays where it is: what the estimator aims at.

    Two estimators that draw fresh tasks at every call see the same ones here.
    """
    estimator, drawn = config.make_estimator(), Problems(config)
    with one_thread(), torch.no_grad():
        problem = drawn.problem(0, drawn.set_up(0, 0, config.generator(0, 1)))
        state, total = estimator.init(problem, theta), torch.zeros_like(theta)
        for call in range(calls):
            estimate, state = estimator(state, theta, problem, config.generator(call + 1, 0))
            total += estimate.gradient
    return total / calls
