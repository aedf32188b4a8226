"""A training loop as anybody has one, on scanned digits, bare and under `LearnedLR`: small enough to be live."""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer

from metalearn_lib.cores import one_thread
from metalearn_lib.learned_lr import LearnedLR
from metalearn_lib.tasks.digits import Digits
from metalearn_lib.types import Seeds

OPTIMIZERS = ("SGD", "momentum", "AdamW")


class Curves(NamedTuple):
    """What a run told, step by step."""

    loss: list[float]
    """of the minibatch"""
    lr: list[float]
    """in force"""
    held_out: float
    """loss on held-out points at the end"""


@one_thread()
def train(
    optimizer: str = "SGD", lr: float = 0.1, authority: float = 1.0, num_steps: int = 200, seed: int = 0
) -> dict[str, Curves]:
    """Train a small network on the digits, twice from the same weights on the same minibatches of 32.

    Args:
        optimizer: one of `OPTIMIZERS`.
        lr: the rate that is set.
        authority: of `LearnedLR`; at 0 both are the same, bit for bit.

    Returns:
        The curves of `"bare"` and of `"with LearnedLR"`.

    Raises:
        ValueError: for an unknown optimizer.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r} is unknown; use one of {', '.join(OPTIMIZERS)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a rate far off puts inputs out of range is what one is to see
        return {
            "bare": _run(optimizer, lr, None, num_steps, seed),
            "with LearnedLR": _run(optimizer, lr, authority, num_steps, seed),
        }


def _run(name: str, lr: float, authority: float | None, num_steps: int, seed: int) -> Curves:
    x, y, x_test, y_test = (each[0] for each in Digits().stack(Seeds("demo", 1, seed)))
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(x.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    optimizer = _optimizer(name, model, lr)
    learned = None if authority is None else LearnedLR(optimizer, authority=authority)
    losses, rates = [], []
    for _ in range(num_steps):
        rows = torch.randint(len(x), (32,))
        loss = cross_entropy(model(x[rows]), y[rows])
        _step(optimizer, loss, learned)
        losses.append(float(loss.detach()))
        rates.append(lr if learned is None else learned.get_last_lr()[0])
    with torch.no_grad():
        held_out = float(cross_entropy(model(x_test), y_test))
    return Curves(losses, rates, held_out)


def _optimizer(name: str, model: nn.Module, lr: float) -> Optimizer:
    if name == "AdamW":
        return AdamW(model.parameters(), lr)
    return SGD(model.parameters(), lr, momentum=0.9 if name == "momentum" else 0.0)


def _step(optimizer: Optimizer, loss: Tensor, learned: LearnedLR | None) -> None:
    optimizer.zero_grad()
    loss.backward()
    if learned is not None:
        learned.observe(loss)
    optimizer.step()


@one_thread()
def step_cost(
    widths: Sequence[int] = (64, 220, 700), batch_size: int = 64, rounds: int = 60
) -> dict[str, dict[int, float]]:
    """Processor time of a step with `LearnedLR` over that of one without, by optimizer and number of weights.

    Steps of both take turns, so that what else the machine does disturbs them alike, and medians count; a measurement,
    which is never the same twice.

    Args:
        widths: of networks of four layers.
        batch_size: points of a step; forward and backward take their time, what `LearnedLR` does does not.
    """
    costs: dict[str, dict[int, float]] = {name: {} for name in OPTIMIZERS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, width in product(OPTIMIZERS, widths):
            (bare, count), (learned, _) = (
                _stepper(name, width, batch_size, learns) for learns in (False, True)
            )
            pairs = [(bare(), learned()) for _ in range(rounds + 10)][10:]
            spent = [statistics.median(each) for each in zip(*pairs, strict=True)]
            costs[name][count] = spent[1] / spent[0]
    return costs


def _stepper(name: str, width: int, batch_size: int, learns: bool) -> tuple[Callable[[], float], int]:
    """What takes a step and says how many seconds it took, and the number of weights."""
    sizes = (32, width, width, width, 10)
    layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    optimizer = _optimizer(name, model, 1e-4)
    learned = LearnedLR(optimizer) if learns else None
    x, y = torch.randn(batch_size, 32), torch.randint(10, (batch_size,))

    def step() -> float:
        began = time.process_time()
        _step(optimizer, cross_entropy(model(x), y), learned)
        return time.process_time() - began

    return step, sum(each.numel() for each in model.parameters())


def told(runs: dict[str, Curves]) -> str:
    """How both came out, in a sentence."""
    ends = {
        name: f"{run.held_out:.3g}" if math.isfinite(run.held_out) else "diverged"
        for name, run in runs.items()
    }
    return "held-out loss: " + ", ".join(f"{name} {end}" for name, end in ends.items())
