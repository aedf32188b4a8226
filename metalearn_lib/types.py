"""What travels between the parts: seeds that cannot be mixed up, stacked data sets, and one step's report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Role = Literal["fit", "meta_train", "validate", "tune", "score", "demo"]
"""What a seed may be used for: fitting preprocessing, meta-training, choosing among meta-seeds, tuning rivals, the
reported result, and pictures."""

_STREAMS = ("data", "params", "order", "perturbation")
_INDEX_BITS = 26


@dataclass(frozen=True)
class Seeds:
    """A run of instance seeds with one use, so that no instance that tuned a method can also score it.

    Args:
        role: what the seeds are for; functions that tune accept only `"tune"`, functions that score only `"score"`.
        count: how many instances.
        start: the first index, 0 or more. `Seeds("score", 8)` are the first eight of `Seeds("score", 128)`.

    Raises:
        ValueError: for an unknown role, or indices outside `[0, 2**26)`.
    """

    role: Role
    count: int
    start: int = 0

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise ValueError(f"role={self.role!r} is unknown; use one of {', '.join(get_args(Role))}.")
        if self.count < 1 or self.start < 0 or self.start + self.count > 2**_INDEX_BITS:
            raise ValueError(
                f"count={self.count}, start={self.start} do not name instances; "
                f"count must be at least 1 and indices must lie in [0, 2**{_INDEX_BITS})."
            )

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.start + self.count))

    def require(self, role: Role) -> None:
        """Refuse seeds of another use."""
        if self.role != role:
            raise ValueError(
                f"these seeds are for {self.role!r}, and this function takes only {role!r} seeds, so that tuning and "
                f"scoring never share an instance; pass Seeds({role!r}, ...)."
            )

    def generator(
        self, index: int, stream: Literal["data", "params", "order", "perturbation"]
    ) -> torch.Generator:
        """A generator of one instance's stream. Distinct (role, stream, index) never collide.

        torch's CPU generator keeps 32 bits of its seed, so the three are packed into 32 bits and scrambled by an odd
        factor, which is a bijection.
        """
        packed = (
            get_args(Role).index(self.role) * len(_STREAMS) + _STREAMS.index(stream)
        ) << _INDEX_BITS | index
        return torch.Generator().manual_seed(packed * 0x9E3779B1 % 2**32)


class Task(NamedTuple):
    """One data set, or many stacked along a leading axis of tasks."""

    x: Tensor
    """training inputs, `(..., points, features)`"""
    y: Tensor
    """training labels, `(..., points)`, int64"""
    x_test: Tensor
    """held-out inputs, `(..., test points, features)`"""
    y_test: Tensor
    """held-out labels, `(..., test points)`, int64"""


class Info(NamedTuple):
    """What one inner step tells its reader; each `(tasks,)`, or `(tasks, time)` for an unroll.

    All are taken *before* the step's update: the loss at the weights that the gradient was taken at.
    """

    loss: Tensor
    grad_norm: Tensor
    weight_norm: Tensor
    lr: Tensor
