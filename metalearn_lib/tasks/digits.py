"""Scanned digits."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metalearn_lib.tasks.real import RealData, load


@dataclass(frozen=True)
class Digits(RealData):
    """Real data: scikit-learn's 1,797 scanned 8x8 digits.

    Pixels, 0 to 16 in the file, are divided by 16; nothing else is fitted.

    References: Alpaydin and Kaynak (1998) [alpaydin1998optical].
    """

    num_points: int = 1024
    num_test: int = 512
    num_features: int = 64
    num_classes: int = 10
    num_rows = 1797

    def rows(self) -> tuple[Tensor, Tensor]:
        x, y = load("digits")
        return x / 16, y

    def divide(self) -> Tensor:
        """How much ink there is."""
        return self.rows()[0].sum(1)
