"""Is it feedback? A learned rate taken apart into what it does on the average and what it does because it watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.methods import Learn, Method, Recipe, Tune
from metalearn_lib.evaluate.threshold import Target, set_target
from metalearn_lib.inner_loop import InnerLoop, Instances
from metalearn_lib.monitor import bounded_log
from metalearn_lib.rates.base import Rate
from metalearn_lib.rates.constant import Constant
from metalearn_lib.rates.learned import LearnedRate
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


MOST_RECORDED = 64
"""Instances on which a rule is recorded, of those that tune; the mean of so many is steady."""
Replayed = Literal["constant", "schedule", "another's run"]


@dataclass(frozen=True)
class Recorded(Recipe):
    """What is left of a learned rate when it replays what it chose elsewhere, on tuning instances.

        constant          geometric mean of its rates, over instances and the steps of a typical run
        schedule          geometric mean over instances, step by step
        another's run     the very sequence of rates that it chose on another instance

    Args:
        rate: the learned rate, on the gradient.
        base: how its base rate was tuned.
        on: where it was recorded; None is the cell that it is scored in.
        replays: which of the three.
    """

    rate: LearnedRate
    base: Tune
    on: Cell | None
    replays: Replayed

    @property
    def needs(self) -> Recipe:
        return self.base

    def place(self, cell: Cell) -> Cell:
        return self.on or cell

    def share(self, seeds: Seeds) -> Seeds:
        return replace(seeds, count=min(len(seeds), MOST_RECORDED))

    def prepare(
        self, cell: Cell, seeds: Seeds, target: Target, before: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        assert before is not None
        instances = cell.draw(seeds, target.cap)
        choices = [each | {"lrs": self._record(cell, instances, each["lr"])} for each in before["choices"]]
        return {"choices": choices, "num_gradients": before["num_gradients"]}

    def _record(self, cell: Cell, instances: Instances, base_lr: float) -> Any:
        rate = replace(self.rate, base_lr=base_lr)
        chosen = InnerLoop(cell.learner, rate).unroll(instances)[1].lr.log()
        typical = instances.num_steps // 4  # the cap is eight times the reference's time
        if self.replays == "constant":
            kept = chosen[:, :typical].mean()
        else:
            kept = chosen.mean(0) if self.replays == "schedule" else chosen
        return kept.exp().tolist()

    def method(self, numbers: Mapping[str, Any], cell: Cell, seeds: Seeds) -> Method:
        if self.replays == "constant":
            return Method(Gradient(), Constant(numbers["lrs"]))
        lrs = torch.tensor(numbers["lrs"])
        # recorded runs are dealt out to the instances in turn
        return Method(
            Gradient(), Schedule(lrs if lrs.dim() == 1 else lrs[torch.tensor(list(seeds)) % len(lrs)])
        )


def chain(home: Cell, rates: Sequence[LearnedRate], base: Tune) -> dict[str, Recipe | Sequence[Recipe]]:
    """The learned rate, and what is left of it when less and less of what it watches is its own; see `Recorded`.

    Each link's own factor is the speed-up over the one before; they multiply to the whole. Only the last link uses this
    run's state.

    Args:
        home: task A.
        rates: of all meta-seeds.
        base: how their base rate was tuned, on task A.
    """
    links: tuple[tuple[Cell | None, Replayed], ...] = (
        (home, "constant"),
        (home, "schedule"),
        (None, "schedule"),
        (None, "another's run"),
    )
    recorded = [[Recorded(rate, base, on, replays) for rate in rates] for on, replays in links]
    whole = [Learn(Gradient(), rate, base) for rate in rates]
    return {LINKS[0]: base, **dict(zip(LINKS[1:], [*recorded, whole], strict=True))}


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
