"""Muon."""

from __future__ import annotations

from torch import nn
from torch.optim import Adam, Muon, Optimizer

from metalearn_lib.directions.packaged import ByTensor


class _Both(Optimizer):
    """Two optimizers, one after the other."""

    def __init__(self, first: Optimizer, second: Optimizer) -> None:
        super().__init__(first.param_groups + second.param_groups, {})
        self.parts = first, second

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for part in self.parts:
            part.step()


class OrthogonalMomentum(ByTensor):
    """Muon on matrices and Adam on biases, both as torch.optim has them, at one rate.

    The rate of a matrix is scaled so that its step is about as long as one of Adam's, as Liu et al. have it; no weight
    decays.

    References: Jordan et al. (2024) [jordan2024muon]; Liu et al. (2025) [liu2025muon].
    """

    name, label = "muon", "Muon"

    def make(self, params: list[nn.Parameter]) -> Optimizer:
        matrices, biases = (
            [each for each in params if each.ndim == 2],
            [each for each in params if each.ndim < 2],
        )
        of_matrices = Muon(matrices, lr=self.lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        return _Both(of_matrices, Adam(biases, lr=self.lr)) if biases else of_matrices
