"""Wines of three growers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metalearn_lib.tasks.real import RealData, load


@dataclass(frozen=True)
class Wine(RealData):
    """Real data: 178 wines of three growers, 13 chemical measurements, standardised like `BreastCancer`.

    References: Aeberhard, Coomans and de Vel (1994) [aeberhard1994comparative].
    """

    num_points: int = 128
    num_test: int = 50
    num_features: int = 13
    num_classes: int = 3
    num_rows = 178

    def rows(self) -> tuple[Tensor, Tensor]:
        x, y = load("wine")
        return (x - x.mean(0)) / x.std(0), y
