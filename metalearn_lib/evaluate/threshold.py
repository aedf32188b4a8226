"""The threshold of an instance, and the gradient evaluations that a loop needs to cross it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from metalearn_lib.cores import one_thread
from metalearn_lib.directions.adam import Adam
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.inner_loop import CHUNK, InnerLoop, Instances
from metalearn_lib.rates.constant import Constant
from metalearn_lib.trees import take
from metalearn_lib.types import Seeds

REFERENCE_RATES = (1e-3, 1e-2, 1e-1)
CAP_FACTOR = 8
REFERENCE_CADENCE = 4


class Target(NamedTuple):
    """What there is to reach on each instance of a cell; each `(instances,)` but the cap."""

    prior_loss: Tensor
    """held-out loss of the class-marginal predictor"""
    reference_loss: Tensor
    """best held-out loss of the reference"""
    threshold: Tensor
    cap: int
    """steps at which every method of the cell is censored"""


class Outcome(NamedTuple):
    """What became of each run; each `(instances,)`."""

    steps: NDArray
    """gradient evaluations to the threshold, the cap where it was never crossed"""
    crossed: NDArray
    finite: NDArray
    """false where the loss stopped being a number; such a run is censored at the cap, never dropped"""
    num_gradients: int = 0
    """minibatch gradients that were computed"""
    gave_up: bool = False
    """whether it was broken off, so that what has not crossed counts as censored"""

    @property
    def num_failed(self) -> int:
        return int((~self.crossed).sum())


@one_thread()
def set_target(cell: Cell, seeds: Seeds) -> Target:
    """The threshold of each instance, from a reference that is no contestant.

        threshold = L_ref + delta (L_prior - L_ref)

    `L_ref` is the best held-out loss of Adam at three rates over four times the horizon. The cap is 8 times the
    median step at which the earliest of the three crosses.

    Raises:
        RuntimeError: when the prior already passes, or the reference reaches nothing, on some instance.
    """
    num_steps = 4 * cell.horizon
    instances = cell.draw(seeds, num_steps)
    curves = torch.stack(
        [
            held_out_curve(InnerLoop(cell.learner, Constant(lr), Adam()), instances, REFERENCE_CADENCE)
            for lr in REFERENCE_RATES
        ]
    )
    prior_loss, reference_loss, threshold = draw_line(curves, instances.test.target, cell.delta)
    if not (reference_loss < prior_loss).all():
        raise RuntimeError(
            f"cell {cell.name!r}: on {int((reference_loss >= prior_loss).sum())} of {len(seeds)} instances the "
            "reference learns nothing, so there is no threshold to reach; make the task easier or the horizon longer."
        )
    crossed = curves < threshold[:, None]
    first = torch.where(crossed.any(2), (crossed.float().argmax(2) + 1) * REFERENCE_CADENCE, num_steps).amin(
        0
    )
    return Target(prior_loss, reference_loss, threshold, CAP_FACTOR * int(first.float().median()))


def draw_line(curves: Tensor, target: Tensor, delta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Prior loss, best loss of the reference and threshold, each `(tasks,)`.

    Args:
        curves: held-out losses of the reference `(rates, tasks, evaluations)`.
        target: held-out class probabilities `(tasks, points, classes)`.
        delta: the part of the learnable loss that is left at the threshold.
    """
    frequency = target.mean(1)
    prior_loss = -torch.special.xlogy(frequency, frequency).sum(1)
    reference_loss = curves.nan_to_num(nan=torch.inf).amin((0, 2))
    return prior_loss, reference_loss, reference_loss + delta * (prior_loss - reference_loss)


@one_thread()
def held_out_curve(loop: InnerLoop, instances: Instances, cadence: int = 1) -> Tensor:
    """Held-out loss after every `cadence` steps, `(tasks, evaluations)`."""
    curves = []
    for tasks in torch.arange(len(instances.params)).split(CHUNK):
        chunk = instances.take(tasks)
        losses = [
            loop.learner.loss(state.params, chunk.test)
            for step, (state, _) in enumerate(loop.iterate(chunk), start=1)
            if step % cadence == 0
        ]
        curves.append(torch.stack(losses, 1))
    return torch.cat(curves)


@one_thread()
def steps_to_threshold(
    loop: InnerLoop,
    instances: Instances,
    target: Target,
    give_up: Callable[[Tensor], bool] | None = None,
) -> Outcome:
    """Train every instance until its held-out loss is below the threshold at two evaluations in a row.

    The harness evaluates after every step, which no method sees or pays for. A run that crosses or stops being finite
    is put aside, so that the rest train faster; the answers do not depend on it.

    Args:
        give_up: asked after every step with the least that the restricted steps can still become `(instances,)`;
            training stops when it says so. Only tuning uses it, to drop a rate that can no longer be the best.
    """
    num_tasks = len(instances.params)
    steps = torch.full((num_tasks,), float(target.cap))
    crossed, finite = torch.zeros(num_tasks, dtype=torch.bool), torch.ones(num_tasks, dtype=torch.bool)
    start = loop.init(instances.params)
    num_gradients = 0

    def least(running: Tensor, step: int) -> Tensor:
        """What the steps can still become."""
        least = steps.clone()
        least[running[~crossed[running] & finite[running]]] = step + 1
        least[int(running[-1]) + 1 :] = 1
        return least

    for running in torch.arange(num_tasks).split(CHUNK):
        state, test = take((start, instances.test), running)
        below_before = torch.zeros(len(running), dtype=torch.bool)
        for step in range(target.cap):
            state, _ = loop.step(state, instances.batch(step, running))
            num_gradients += len(running)
            loss = loop.learner.loss(loop.direction.judged(state.direction, state.params), test)
            below, broken = loss < target.threshold[running], ~loss.isfinite()
            crossing = below & below_before
            steps[running[crossing]], crossed[running[crossing]] = float(step), True
            finite[running[broken]] = False
            below_before = below
            if give_up is not None and give_up(least(running, step)):
                return Outcome(steps.numpy(), crossed.numpy(), finite.numpy(), num_gradients, gave_up=True)
            if (crossing | broken).any():
                left = (~(crossing | broken)).nonzero().squeeze(1)
                if not len(left):
                    break
                running, below_before, state, test = take((running, below_before, state, test), left)
    return Outcome(steps.numpy(), crossed.numpy(), finite.numpy(), num_gradients)
