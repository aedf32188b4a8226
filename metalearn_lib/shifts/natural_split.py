"""One side of a natural divide of real data."""

from __future__ import annotations

from torch import Generator, Tensor

from metalearn_lib.shifts.base import Shift
from metalearn_lib.tasks.base import split
from metalearn_lib.tasks.real import RealData
from metalearn_lib.types import Task


class NaturalSplit(Shift):
    """Real data on one side of a natural divide: the digits with more ink, the larger masses, the stronger wines.

    Tasks are random splits, two thirds for training, of the rows that lie above the `severity` quantile of the family's
    `divide`. Preprocessing stays that of the family.

    Raises:
        ValueError: for a family that is not `RealData`.
    """

    lowest, highest, identity, unit = 0.0, 0.8, 0.0, "quantile of the number by which the data divide"
    drawable = False

    @property
    def num_points(self) -> int:  # type: ignore[override]
        count = len(self._above()[1])
        return count - count // 3

    def sample(self, generator: Generator) -> Task:
        return split(*self._above(), self.num_points, generator)

    def _above(self) -> tuple[Tensor, Tensor]:
        if not isinstance(self.family, RealData):
            raise ValueError(
                f"a natural split is one of real data, and this is {type(self.family).__name__}; use Digits, "
                "BreastCancer or Wine."
            )
        x, y = self.family.rows()
        number = self.family.divide()
        above = number >= number.quantile(self.severity)
        return x[above], y[above]
