"""Meta-training: the outer loop, which trains the meta-optimizer over a distribution of tasks."""

from __future__ import annotations

import platform
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from metalearn_lib import __version__
from metalearn_lib.cores import available_cores, one_thread
from metalearn_lib.directions import DIRECTIONS
from metalearn_lib.gradient_estimators import AntitheticES, meta_loss
from metalearn_lib.inner_loop import InnerLoop, draw_instances
from metalearn_lib.learners import MLP
from metalearn_lib.meta_optimizers import LearnedRate, MetaOptimizer
from metalearn_lib.tasks import GaussianMixture, TaskFamily
from metalearn_lib.types import Seeds


@dataclass(frozen=True)
class MetaTrainConfig:
    """All that decides the trained theta; the card keeps it, and training from it gives theta again.

    Args:
        direction: which direction's rate is learned, a name in `DIRECTIONS`.
        base_lr: centre of the base rates, the constant rate tuned on task A.
        base_lr_decades: base rates are log-uniform within this many powers of ten of the centre.
        num_tasks: tasks per outer step, each with its own antithetic pair.
        horizon: inner steps of an unroll.
        batch_size: points in a minibatch.
        outer_steps: updates of theta.
        outer_lr: Adam's rate on theta at the start; it falls to a twentieth along a cosine.
        sigma: width of the perturbations.
        hidden: units of the meta-optimizer.
        seed: the meta-seed, 0 or more.

    Raises:
        ValueError: for a setting out of its range.
    """

    direction: str = "sgd"
    base_lr: float = 1.0
    base_lr_decades: float = 2.0
    num_tasks: int = 64
    horizon: int = 96
    batch_size: int = 128
    outer_steps: int = 400
    outer_lr: float = 0.1
    sigma: float = 0.1
    hidden: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction={self.direction!r} is unknown; use one of {', '.join(DIRECTIONS)}.")
        for name in ("base_lr", "num_tasks", "batch_size", "outer_steps", "outer_lr", "sigma", "hidden"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)!r} must be a positive number.")
        if self.horizon < 2:
            raise ValueError(f"horizon={self.horizon} leaves no improvement to reward; use 2 or more.")
        if not 0 <= self.base_lr_decades <= 4:
            raise ValueError(
                f"base_lr_decades={self.base_lr_decades} must lie in [0, 4]; 2 is a factor of 100 each way."
            )
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must be 0 or more.")

    @property
    def family(self) -> TaskFamily:
        return GaussianMixture()

    @property
    def learner(self) -> MLP:
        return MLP((self.family.num_features, 32, 32, self.family.num_classes))

    def loop(self, base_lr: float | Tensor, theta: Tensor) -> InnerLoop:
        rate = LearnedRate(base_lr, theta, MetaOptimizer(self.hidden))
        return InnerLoop(self.learner, rate, DIRECTIONS[self.direction])


class Trained(NamedTuple):
    """A meta-optimizer, and how it came about."""

    theta: Tensor
    """`(theta,)`"""
    history: dict[str, list[float]]
    """per outer step: meta_loss, gradient_norm, nonfinite"""
    card: dict[str, Any]


def meta_train(config: MetaTrainConfig, progress: bool = True) -> Trained:
    """Train theta by antithetic evolution strategies, rewarded for loss improvement on fresh tasks at every step.

    The same config gives the same theta, bit for bit, on the same machine.
    """
    generator = Seeds("meta_train", 1, config.seed).generator(config.seed, "perturbation")
    theta = torch.nn.Parameter(MetaOptimizer(config.hidden).init_theta(generator))
    outer_optimizer = torch.optim.Adam([theta], lr=config.outer_lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        outer_optimizer, config.outer_steps, config.outer_lr / 20
    )
    estimator = AntitheticES(config.sigma)
    history: dict[str, list[float]] = {"meta_loss": [], "gradient_norm": [], "nonfinite": []}
    cost = 0
    bar = tqdm(range(config.outer_steps), desc=f"meta-training, seed {config.seed}", disable=not progress)
    with one_thread(), torch.no_grad():
        for outer_step in bar:
            first = (config.seed * config.outer_steps + outer_step) * config.num_tasks
            seeds = Seeds("meta_train", config.num_tasks, first)
            instances = draw_instances(
                config.family, config.learner, seeds, config.horizon, config.batch_size
            )
            decades = config.base_lr_decades * (2 * torch.rand(config.num_tasks, generator=generator) - 1)
            loop = config.loop(config.base_lr * 10**decades, theta)
            estimate = estimator(loop, loop.init(instances.params), theta.detach(), instances, generator)

            theta.grad = estimate.gradient
            outer_optimizer.step()
            schedule.step()
            cost += estimate.num_gradients
            history["meta_loss"].append(float(estimate.meta_loss))
            history["gradient_norm"].append(float(estimate.gradient.norm()))
            history["nonfinite"].append(float(estimate.num_nonfinite))
            bar.set_postfix(meta_loss=f"{float(estimate.meta_loss):.3f}", refresh=False)
    card = {
        "config": asdict(config),
        "estimator": type(estimator).__name__,
        "family": repr(config.family),
        "gradient_evaluations": cost,
        "versions": {
            "metalearn_lib": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    return Trained(theta.detach(), history, card)


def validation_loss(config: MetaTrainConfig, theta: Tensor, num_tasks: int = 128) -> float:
    """Meta-loss of `theta` on validation tasks, with base rates spread evenly over the config's decades."""
    seeds = Seeds("validate", num_tasks)
    instances = draw_instances(config.family, config.learner, seeds, config.horizon, config.batch_size)
    decades = torch.linspace(-config.base_lr_decades, config.base_lr_decades, num_tasks)
    with one_thread(), torch.no_grad():
        _, info = config.loop(config.base_lr * 10**decades, theta).unroll(instances)
    return float(meta_loss(info).mean())


def meta_train_best(
    config: MetaTrainConfig, num_seeds: int, workers: int | None = None, progress: bool = True
) -> tuple[Trained, list[Trained]]:
    """Train with meta-seeds `config.seed` and those after it; the best on *validation* tasks, and all of them.

    The card of the best names every seed's validation loss, and counts what the discarded ones cost too.

    Raises:
        ValueError: for fewer than one seed or worker.
    """
    if num_seeds < 1 or (workers is not None and workers < 1):
        raise ValueError(f"num_seeds={num_seeds}, workers={workers}: both must be 1 or more.")
    configs = [replace(config, seed=config.seed + offset) for offset in range(num_seeds)]
    workers = min(workers or available_cores(), num_seeds)
    if workers == 1:
        runs = [meta_train(each, progress) for each in configs]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            runs = list(pool.map(meta_train, configs, [progress and not i for i in range(num_seeds)]))
    losses = [validation_loss(config, run.theta) for run in runs]
    best = runs[min(range(num_seeds), key=losses.__getitem__)]
    card = best.card | {
        "validation_loss": {str(each.seed): loss for each, loss in zip(configs, losses, strict=True)},
        "gradient_evaluations_all_seeds": sum(run.card["gradient_evaluations"] for run in runs),
    }
    return best._replace(card=card), runs
