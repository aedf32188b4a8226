"""A distribution over families: what rules are meta-trained on, and what rivals are tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Generator, rand, randint

from metalearn_lib.registry import from_outside
from metalearn_lib.shifts import SHIFTS
from metalearn_lib.shifts.base import Shift, Wrapped
from metalearn_lib.tasks import TASKS
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Task

HOME = "home"
"""The name of the family itself, unshifted."""
MIXTURE = (HOME, "translate", "scale", "anisotropy")
"""The contest's mixture: task A and its geometric shifts, severities as each shift draws them."""


@dataclass(frozen=True)
class RandomFamily(Wrapped):
    """A distribution over families: each task is of one of them, with a severity of its own.

    With `kinds=(None,)` it is the family itself, up to the seeds.

    Args:
        family: task A's.
        kinds: shifts to draw from with equal chances, and None for `family` as it is; repeat one to make it likelier.
    """

    family: TaskFamily
    kinds: tuple[type[TaskFamily] | None, ...]

    def sample(self, generator: Generator) -> Task:
        kind = self.kinds[int(randint(len(self.kinds), (), generator=generator))]
        u = float(rand((), generator=generator))
        return (self.family if kind is None else kind.drawn(self.family, u)).sample(generator)


def random_family(family: TaskFamily, names: Sequence[str]) -> RandomFamily:
    """The distribution over the families called `names`.

    Raises:
        ValueError: for a name that there is not, one whose tasks do not stack with those of `family`, or no name.
    """
    if not names:
        raise ValueError(f"families [] name nothing to draw; use one or more of {', '.join(families())}.")
    return RandomFamily(family, tuple(kind_of(name) for name in names))


def families() -> dict[str, type[TaskFamily] | None]:
    """What meta-training may draw, by name: task A, every shift of it, and every family of another shape."""
    shifts = {name: kind for name, kind in SHIFTS.items() if kind.drawable}
    own = {name: kind for name, kind in TASKS.items() if kind is not GaussianMixture}
    return {HOME: None} | dict(sorted((own | shifts).items(), key=lambda each: reshapes(each[1])))


def kind_of(name: str) -> type[TaskFamily] | None:
    """The family called `name`, or `module:Name` of one from outside; None is task A.

    Raises:
        ValueError: for a name that there is not.
    """
    if ":" in name:
        return from_outside(name, SHIFTS, TASKS)
    known = families()
    if name not in known:
        raise ValueError(
            f"families {name!r} is unknown; use one or more of {', '.join(known)}, or module:Name."
        )
    return known[name]


def reshapes(kind: type[TaskFamily] | None) -> bool:
    """Whether its tasks have another shape than task A's, so that a chunk of tasks must be of it alone."""
    return kind is not None and (kind.reshapes if issubclass(kind, Shift) else True)
