"""Evaluation under shift: gradient evaluations to a threshold, on instances that all methods share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from metalearn_lib.cores import available_cores, one_thread
from metalearn_lib.directions import Adam, Direction, Gradient
from metalearn_lib.inner_loop import CHUNK, InnerLoop, Instances, draw_instances
from metalearn_lib.learners import MLP
from metalearn_lib.rates import Constant, Rate
from metalearn_lib.shifts import make_shift
from metalearn_lib.statistics import Interval, restricted_speedup
from metalearn_lib.tasks import Digits, GaussianMixture, TaskFamily
from metalearn_lib.trees import take
from metalearn_lib.types import Seeds

REFERENCE_RATES = (1e-3, 1e-2, 1e-1)
CAP_FACTOR = 8
REFERENCE_CADENCE = 4
_COARSE, _FINE = 0.5, 0.25  # decades between rates of the tuning grid
_GRID = (-6.0, 2.0)  # decades


@dataclass(frozen=True)
class Cell:
    """One place where methods meet: a family of tasks and the set-up of the learner.

    Args:
        name: what tables and figures call it.
        family: the tasks, already shifted.
        hidden: widths of the learner's hidden layers.
        batch_size: points in a minibatch.
        horizon: steps of a usual training run; the reference runs four times as long.
        delta: the threshold, as the part of the learnable loss that is left.
    """

    name: str
    family: TaskFamily
    hidden: tuple[int, ...] = (32, 32)
    batch_size: int = 128
    horizon: int = 128
    delta: float = 0.10

    @property
    def learner(self) -> MLP:
        return MLP((self.family.num_features, *self.hidden, self.family.num_classes))

    @property
    def steps_per_epoch(self) -> float:
        return self.family.num_points / self.batch_size

    def draw(self, seeds: Seeds, num_steps: int) -> Instances:
        return draw_instances(self.family, self.learner, seeds, num_steps, self.batch_size)


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
    loop: InnerLoop, instances: Instances, target: Target, give_up: float = math.inf
) -> Outcome:
    """Train every instance until its held-out loss is below the threshold at two evaluations in a row.

    The harness evaluates after every step, which no method sees or pays for. A run that crosses or stops being finite
    is put aside, so that the rest train faster; the answers do not depend on it.

    Args:
        give_up: stop as soon as the mean log of restricted steps is bound to exceed this; what has not crossed by then
            counts as censored. Only tuning uses it, to drop a rate that can no longer be the best.
    """
    num_tasks = len(instances.params)
    steps = torch.full((num_tasks,), float(target.cap))
    crossed, finite = torch.zeros(num_tasks, dtype=torch.bool), torch.ones(num_tasks, dtype=torch.bool)
    start = loop.init(instances.params)

    def bound(running: Tensor, step: int) -> float:
        """The least that the mean log steps can still become."""
        least = steps.clone()
        least[running[~crossed[running] & finite[running]]] = step + 1
        least[int(running[-1]) + 1 :] = 1
        return float(least.log().mean())

    for running in torch.arange(num_tasks).split(CHUNK):
        state, test = take((start, instances.test), running)
        below_before = torch.zeros(len(running), dtype=torch.bool)
        for step in range(target.cap):
            state, _ = loop.step(state, instances.batch(step, running))
            loss = loop.learner.loss(loop.direction.judged(state.direction, state.params), test)
            below, broken = loss < target.threshold[running], ~loss.isfinite()
            crossing = below & below_before
            steps[running[crossing]], crossed[running[crossing]] = float(step), True
            finite[running[broken]] = False
            below_before = below
            if bound(running, step) > give_up:
                return Outcome(steps.numpy(), crossed.numpy(), finite.numpy())
            if (crossing | broken).any():
                left = (~(crossing | broken)).nonzero().squeeze(1)
                if not len(left):
                    break
                running, below_before, state, test = take((running, below_before, state, test), left)
    return Outcome(steps.numpy(), crossed.numpy(), finite.numpy())


@one_thread()
def tune(cell: Cell, direction: Direction, seeds: Seeds) -> float:
    """The constant rate with which `direction` crosses soonest in `cell`, by the criterion of the evaluation.

    The mean log of restricted steps is minimised over half-decades, then over the quarter-decades beside the best.

    Args:
        seeds: instances to tune on; never those that score.

    Raises:
        ValueError: for seeds whose role is not `"tune"`.
        RuntimeError: when the best rate lies at an end of the grid, 10^-6 to 10^2.
    """
    seeds.require("tune")
    target = set_target(cell, seeds)
    instances = cell.draw(seeds, target.cap)

    costs: dict[float, float] = {}

    def race(decades: Iterable[float]) -> float:
        for decade in decades:
            loop = InnerLoop(cell.learner, Constant(10**decade), direction)
            to_beat = min(costs.values(), default=math.inf)
            costs[decade] = float(np.log(steps_to_threshold(loop, instances, target, to_beat).steps).mean())
        return min(costs, key=costs.__getitem__)

    low, high = _GRID
    best = race(sorted(np.arange(low, high + _COARSE / 2, _COARSE), key=lambda decade: abs(decade + 1)))
    if best in (min(costs), max(costs)):
        raise RuntimeError(
            f"cell {cell.name!r}: the best rate of {type(direction).__name__}, 10^{best:g}, lies at the end of the "
            f"tuning grid, 10^{low:g} to 10^{high:g}, so it may not be the best; is the threshold reachable?"
        )
    return 10 ** float(race((best - _FINE, best + _FINE)))


def home_cell() -> Cell:
    """Task A: the family that everything is tuned and meta-trained on."""
    return Cell("task A", GaussianMixture())


def shifted_cell(shift_family: str, severity: float) -> Cell:
    """Task B: task A's family under a shift.

    Raises:
        ValueError: for an unknown shift, or a severity out of its range.
    """
    return Cell(f"{shift_family} {severity:g}", make_shift(shift_family, home_cell().family, severity))


def standard_cells() -> list[Cell]:
    """Task A, its geometric shifts, and one real data set."""
    shifts = [("translate", 2), ("translate", 4), ("scale", 0.25), ("scale", 4), ("anisotropy", 16)]
    return [home_cell(), *(shifted_cell(*shift) for shift in shifts), Cell("digits", Digits())]


class CellResult(NamedTuple):
    """One cell's outcomes, method by method, on the same instances."""

    cell: Cell
    target: Target
    oracle_lr: float
    """SGD's rate re-tuned on this cell"""
    outcomes: dict[str, Outcome]

    def speedup(self, method: str, baseline: str = "SGD") -> Interval:
        """How many times sooner `method` crosses than `baseline`."""
        return restricted_speedup(self.outcomes[baseline].steps, self.outcomes[method].steps)

    def mean_epochs(self, method: str) -> float:
        """Restricted mean of fractional epochs to the threshold."""
        return float(self.outcomes[method].steps.mean() / self.cell.steps_per_epoch)


@dataclass(frozen=True)
class Method:
    """A contestant: a direction and a rate, fixed before the cell is seen."""

    direction: Direction
    rate: Rate


ORACLE = "SGD re-tuned on B"
"""The ruler: SGD at the rate tuned on the cell itself, on other seeds."""


@one_thread()
def evaluate_cell(
    cell: Cell, methods: dict[str, Method], score_seeds: Seeds, tune_seeds: Seeds
) -> CellResult:
    """Run every method, and the oracle, on the same instances of one cell.

    Raises:
        ValueError: for seeds that are not for scoring, or not for tuning.
    """
    score_seeds.require("score")
    oracle_lr = tune(cell, Gradient(), tune_seeds)
    target = set_target(cell, score_seeds)
    instances = cell.draw(score_seeds, target.cap)
    contestants = {**methods, ORACLE: Method(Gradient(), Constant(oracle_lr))}
    outcomes = {
        name: steps_to_threshold(InnerLoop(cell.learner, method.rate, method.direction), instances, target)
        for name, method in contestants.items()
    }
    return CellResult(cell, target, oracle_lr, outcomes)


def evaluate(
    cells: Sequence[Cell],
    methods: dict[str, Method],
    score_seeds: Seeds,
    tune_seeds: Seeds,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, CellResult]:
    """Run every method on every cell, a cell to a process, and return the results by the cell's name, in order.

    The answers do not depend on `workers`; each process uses one thread.

    Args:
        workers: processes; the machine's cores by default. 1 runs in this process.
        progress: whether to draw a progress bar.
    """
    names = [cell.name for cell in cells]
    if len(set(names)) < len(names):
        raise ValueError(f"cells {names} share a name; give each its own.")
    workers = min(workers or available_cores(), len(cells))
    arguments = [(cell, methods, score_seeds, tune_seeds) for cell in cells]
    bar = tqdm(total=len(cells), desc="cells", disable=not progress)
    results: dict[str, CellResult] = {}
    if workers == 1:
        for each in arguments:
            results[each[0].name] = evaluate_cell(*each)
            bar.update()
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for done in as_completed([pool.submit(evaluate_cell, *each) for each in arguments]):
                results[done.result().cell.name] = done.result()
                bar.update()
    bar.close()
    return {name: results[name] for name in names}
