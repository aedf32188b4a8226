"""Breast masses."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from metalearn_lib.tasks.real import RealData, load


@dataclass(frozen=True)
class BreastCancer(RealData):
    """Real data: 569 breast masses, 30 measurements of cell nuclei, benign or malignant.

    Features are standardised with the means and standard deviations of the whole file, which are taken as given.

    References: Street, Wolberg and Mangasarian (1993) [street1993nuclear].
    """

    num_points: int = 384
    num_test: int = 185
    num_features: int = 30
    num_classes: int = 2
    num_rows = 569

    def rows(self) -> tuple[Tensor, Tensor]:
        x, y = load("breast_cancer")
        return (x - x.mean(0)) / x.std(0), y
