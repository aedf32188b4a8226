"""Who trains a model: an optimizer at a rate that is set, with or without help, or one that finds its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, ReduceLROnPlateau

from metalearn_lib import LearnedLR

Weights = Iterator[torch.nn.Parameter]

BASES: dict[str, tuple[Callable[[Weights, float], Optimizer], float, float]] = {
    "SGD": (lambda weights, lr: SGD(weights, lr), 1e-1, 1e-3),
    "momentum": (lambda weights, lr: SGD(weights, lr, momentum=0.9), 1e-2, 1e-3),
    "AdamW": (lambda weights, lr: AdamW(weights, lr), 3e-3, 1e-3),
}
"""Optimizers whose rate is set: how to make one, the centre of the rates that are tried, and the library's default."""


class Trainer:
    """An optimizer, and what else acts on its rates.

    Args:
        optimizer: it is stepped.
        learned: what watches it.
        schedule: what is stepped after it.
    """

    def __init__(
        self,
        optimizer: Any,
        learned: LearnedLR | None = None,
        schedule: LRScheduler | ReduceLROnPlateau | None = None,
    ) -> None:
        self.optimizer, self.learned, self.schedule = optimizer, learned, schedule
        self.takes_loss = type(optimizer).__module__.startswith("momo")

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        if self.learned is not None:
            self.learned.observe(loss)
        self.optimizer.step(loss=loss.detach()) if self.takes_loss else self.optimizer.step()
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(float(loss))
        elif self.schedule is not None:
            self.schedule.step()

    def judged(self, judged: bool) -> None:
        """Schedule-Free keeps other weights for use than for training."""
        if hasattr(self.optimizer, "eval"):
            self.optimizer.eval() if judged else self.optimizer.train()

    @property
    def factors(self) -> list[float]:
        return [] if self.learned is None else [step.factor for step in self.learned.history()]


def made(
    entrant: str,
    base: str,
    lr: float,
    num_steps: int,
    weights: Weights,
    rule: str | None,
    replayed: Sequence[float],
) -> Trainer:
    """An entrant on the weights of a model.

    Args:
        entrant: `constant`, `cosine`, `plateau`, `learned`, `unguarded`, `replayed`, or a name in `FREE`.
        base: a name in `BASES`, or nothing for one that finds its rate.
        lr: the rate that is set.
        rule: of `LearnedLR`; None is the optimizer's own.
        replayed: factors of the steps, of the entrant that replays them.
    """
    if entrant in FREE:
        return Trainer(FREE[entrant](weights))
    optimizer = BASES[base][0](weights, lr)
    if entrant in ("learned", "unguarded"):
        more = {} if entrant == "learned" else {"guard": None}
        return Trainer(optimizer, LearnedLR(optimizer, rule, **more))
    if entrant == "replayed":
        return Trainer(
            optimizer, schedule=LambdaLR(optimizer, lambda step: replayed[min(step, len(replayed) - 1)])
        )
    if entrant == "cosine":
        return Trainer(optimizer, schedule=CosineAnnealingLR(optimizer, num_steps))
    if entrant == "plateau":
        patience = max(10, num_steps // 40)
        return Trainer(optimizer, schedule=ReduceLROnPlateau(optimizer, factor=0.3, patience=patience))
    assert entrant == "constant", entrant
    return Trainer(optimizer)


def _prodigy(weights: Weights) -> Optimizer:
    from prodigyopt import Prodigy

    return Prodigy(weights)


def _dog(weights: Weights) -> Optimizer:
    from dog import DoG

    return DoG(weights)


def _dadapt(weights: Weights) -> Optimizer:
    from dadaptation import DAdaptAdam

    return DAdaptAdam(weights)


def _schedule_free(weights: Weights) -> Optimizer:
    from schedulefree import AdamWScheduleFree

    return AdamWScheduleFree(weights)


def _momo(weights: Weights) -> Optimizer:
    from momo import MomoAdam

    return MomoAdam(weights)


FREE: dict[str, Callable[[Weights], Any]] = {
    "Prodigy": _prodigy,
    "DoG": _dog,
    "D-Adaptation": _dadapt,
    "Schedule-Free": _schedule_free,
    "MoMo": _momo,
}
"""What users take who will not set a rate, each as its package makes it."""


def grid(base: str) -> list[float]:
    """The rates that are tried: half decades over four."""
    return [BASES[base][1] * 10 ** (half / 2) for half in range(-4, 5)]


def geometric_mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Of several runs' factors, step by step."""
    length = max(map(len, rows))
    padded = [[math.log(each) for each in row] + [math.log(row[-1])] * (length - len(row)) for row in rows]
    return [math.exp(sum(column) / len(column)) for column in zip(*padded, strict=True)]
