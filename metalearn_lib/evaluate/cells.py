"""Cells: where methods meet. A family of tasks, already shifted, and the set-up of the learner."""

from __future__ import annotations

from dataclasses import dataclass

from metalearn_lib.fused.learner import fuse
from metalearn_lib.inner_loop import Instances, draw_instances
from metalearn_lib.learners import MLP, Learner
from metalearn_lib.shifts import make_shift
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.digits import Digits
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds


@dataclass(frozen=True)
class Cell:
    """One place where methods meet: a family of tasks and the set-up of the learner.

    Args:
        name: what tables and figures call it.
        family: the tasks, already shifted.
        hidden: widths of the learner's hidden layers.
        batch_size: points in a minibatch.
        activation: of the learner's hidden layers.
        init_scale: a factor on the learner's initial matrices.
        horizon: steps of a usual training run; the reference runs four times as long.
        delta: the threshold, as the part of the learnable loss that is left.
        base_lr_factor: how wrong the base rate is that every method brings along.
    """

    name: str
    family: TaskFamily
    hidden: tuple[int, ...] = (32, 32)
    batch_size: int = 128
    activation: str = "relu"
    init_scale: float = 1.0
    horizon: int = 128
    delta: float = 0.10
    base_lr_factor: float = 1.0

    @property
    def learner(self) -> Learner:
        sizes = (self.family.num_features, *self.hidden, self.family.num_classes)
        return fuse(MLP(sizes, self.activation, self.init_scale))

    @property
    def steps_per_epoch(self) -> float:
        return self.family.num_points / self.batch_size

    def draw(self, seeds: Seeds, num_steps: int) -> Instances:
        return draw_instances(self.family, self.learner, seeds, num_steps, self.batch_size)


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
