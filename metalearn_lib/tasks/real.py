"""What every family of real data is: random splits of the rows of one data set."""

from __future__ import annotations

from abc import abstractmethod
from functools import cache
from typing import ClassVar

import torch
from torch import Generator, Tensor

from metalearn_lib.tasks.base import TaskFamily, split
from metalearn_lib.types import Task


class RealData(TaskFamily):
    """One data set of scikit-learn's; a task is a random split of its rows.

    Instances share rows, so an interval over them speaks of the split, the initial weights and the minibatch order,
    not of new data.

    Raises:
        ValueError: when more points are asked for than there are rows.
    """

    num_test: int
    num_rows: ClassVar[int]

    def __post_init__(self) -> None:
        if self.num_points + self.num_test > self.num_rows:
            raise ValueError(
                f"num_points={self.num_points} and num_test={self.num_test} ask for more than the {self.num_rows} rows "
                f"of {type(self).__name__}; make them smaller."
            )

    @abstractmethod
    def rows(self) -> tuple[Tensor, Tensor]:
        """All inputs `(rows, features)`, scaled, and labels `(rows,)`."""

    def divide(self) -> Tensor:
        """A number for each row `(rows,)`, by which the data divide naturally: by default the first feature."""
        return self.rows()[0][:, 0]

    def sample(self, generator: Generator) -> Task:
        return split(*self.rows(), self.num_points, generator, self.num_points + self.num_test)


@cache
def load(name: str) -> tuple[Tensor, Tensor]:
    from sklearn import datasets  # imported late: it takes a second, and only real data needs it

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.int64)
