"""Is it feedback? A learned rate taken apart into what it does on the average and what it does because it watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.cards import rule_of
from metalearn_lib.cores import one_thread
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.methods import Method, Recipe
from metalearn_lib.evaluate.threshold import set_target
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.monitor import bounded_log
from metalearn_lib.rates.base import Rate
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.schedule import Schedule
from metalearn_lib.types import Info, Seeds

LINKS = (
    "SGD at A's rate",
    "its constant on A",
    "its mean schedule on A",
    "its mean schedule on B",
    "its run on another instance",
    "the closed loop",
)
"""What `chain` puts side by side, from nothing of the learned rate to all of it."""


@one_thread()
def chain(
    home: Cell,
    cell: Cell,
    thetas: Tensor,
    card: Mapping[str, Any],
    base_lr: float,
    num_scored: int,
    seeds: Seeds,
) -> dict[str, Recipe | Sequence[Recipe]]:
    """The learned rate, and what is left of it when less and less of what it watches is its own.

        constant        geometric mean of its rates on A, over instances and the steps of a typical run
        schedule on A   geometric mean over instances of A, step by step
        schedule on B   the same on other instances of B
        another's run   the very sequence of rates that it chose on another instance of B
        closed loop     what it chooses on this one

    Each link's own factor is the speed-up over the one before; they multiply to the whole. Only the last link uses this
    run's state.

    Args:
        home, cell: task A, and where the chain is scored.
        thetas: of all meta-seeds, `(meta-seeds, theta)`.
        card: of their meta-training.
        base_lr: the rate tuned on A.
        num_scored: instances that will be scored; the recorded runs are dealt out to them in turn.
        seeds: instances on which rates are recorded; never those that score.
    """
    seeds.require("tune")
    parts: list[list[Method]] = [[] for _ in LINKS[1:]]
    places = [(where.learner, where.draw(seeds, set_target(where, seeds).cap)) for where in (home, cell)]
    typical = places[0][1].num_steps // 4  # the cap is eight times the reference's time
    others = torch.arange(num_scored) % len(seeds)
    for theta in thetas:
        _, rate = rule_of(card["config"], theta, base_lr)
        on_a, on_b = (InnerLoop(learner, rate).unroll(drawn)[1].lr.log() for learner, drawn in places)
        rates = (
            Constant(float(on_a[:, :typical].mean().exp())),
            Schedule(on_a.mean(0).exp()),
            Schedule(on_b.mean(0).exp()),
            Schedule(on_b[others].exp()),
            rate,
        )
        for part, each in zip(parts, rates, strict=True):
            part.append(Method(Gradient(), each))
    return {LINKS[0]: Method(Gradient(), Constant(base_lr)), **dict(zip(LINKS[1:], parts, strict=True))}


def watch(cell: Cell, rate: Rate, seeds: Seeds, num_steps: int | None = None) -> Info:
    """What the monitor sees of a rate on the gradient, up to the cell's cap unless told."""
    instances = cell.draw(seeds, num_steps or set_target(cell, seeds).cap)
    return InnerLoop(cell.learner, rate).unroll(instances)[1]


class Surrogate(NamedTuple):
    """A formula fitted to a rate's choices: `log lr = a + b . (log loss, log |g|, log |w|, log t)`."""

    intercept: float
    slopes: NDArray
    r_squared: float


def fit_surrogate(infos: Sequence[Info]) -> Surrogate:
    """Least squares over all steps of all runs.

    For a rate of the normalised gradient the slopes are (0, -1, 0, 0), for an unbounded Polyak step (1, -2, 0, 0).

    Args:
        infos: unrolls, `(tasks, time)` each.
    """
    columns, target = [], []
    for info in infos:
        clock = torch.arange(1, info.lr.shape[1] + 1).expand_as(info.lr)
        seen = [
            bounded_log(each) for each in (info.loss, info.grad_norm, info.weight_norm, clock.to(info.lr))
        ]
        columns.append(torch.stack([torch.ones_like(info.lr), *seen], -1).flatten(0, 1))
        target.append(bounded_log(info.lr).flatten())
    x, y = torch.cat(columns).double().numpy(), torch.cat(target).double().numpy()
    found, *_ = np.linalg.lstsq(x, y, rcond=None)
    unexplained = ((y - x @ found) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    return Surrogate(float(found[0]), found[1:], float(1 - unexplained))
