"""Cells: where methods meet. A family of tasks, already shifted, and the set-up of the learner."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metalearn_lib.fused.learner import fuse
from metalearn_lib.inner_loop import Instances, draw_instances
from metalearn_lib.learners import MLP, Learner
from metalearn_lib.shifts import make_shift
from metalearn_lib.shifts.base import Wrapped
from metalearn_lib.tasks import TASKS
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


def family_cell(name: str) -> Cell:
    """Tasks of another kind: a family of `TASKS`, or `module:Name`, as it is made without arguments.

    Raises:
        ValueError: for a name that there is not.
    """
    family = TASKS.find(name)
    if issubclass(family, Wrapped):
        raise ValueError(f"{name!r} is made from another family, as a shift is; name it as the shift.")
    made = family()
    return Cell(made.label, made, batch_size=min(Cell.batch_size, made.num_points))


def shifted_cell(shift_family: str, severity: float, family: str | None = None) -> Cell:
    """Task B: a family under a shift.

    Args:
        shift_family: a name in `SHIFTS`, or `module:Name`.
        severity: in the shift's own unit.
        family: what is shifted; see `family_cell`. None is task A's.

    Raises:
        ValueError: for a name that there is not, or a severity out of the shift's range.
    """
    of = home_cell() if family is None else family_cell(family)
    shifted = make_shift(shift_family, of.family, severity)
    before = "" if family is None else f"{of.name}, "
    return replace(of, name=f"{before}{shifted.name} {severity:g}", family=shifted)


def standard_cells() -> list[Cell]:
    """Task A, its geometric shifts, and one real data set."""
    shifts = [("translate", 2), ("translate", 4), ("scale", 0.25), ("scale", 4), ("anisotropy", 16)]
    return [home_cell(), *(shifted_cell(*shift) for shift in shifts), Cell("digits", Digits())]
