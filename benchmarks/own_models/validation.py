"""Seven problems by which a rule is chosen, so that the thirteen need not be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from problems import Problem, Split, _shuffled, _standardised
from sklearn.datasets import load_breast_cancer, load_wine, make_blobs, make_friedman1
from torch import nn
from torch.nn import functional as F


def _mlp(sizes: tuple[int, ...], norm: Callable[[int], nn.Module] | None = None) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes[:-1]):
            layers += [nn.Linear(inputs, outputs), *([norm(outputs)] if norm else []), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(*sizes[-2:]))

    return made


def _cnn() -> nn.Module:
    layers = (nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    more = (nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(*layers, *more, nn.Flatten(), nn.Linear(64, 6))


@cache
def cancer() -> Split:
    x, y = load_breast_cancer(return_X_y=True)
    return _standardised(
        _shuffled(torch.tensor(x).float(), torch.tensor(y).float()[:, None], (300, 119, 150))
    )


@cache
def wine() -> Split:
    x, y = load_wine(return_X_y=True)
    return _standardised(_shuffled(torch.tensor(x).float(), torch.tensor(y), (100, 38, 40)))


@cache
def blobs() -> Split:
    x, y = make_blobs(4000, 12, centers=12, cluster_std=3.0, random_state=0)[:2]
    return _standardised(_shuffled(torch.tensor(x).float(), torch.tensor(y), (2400, 600, 1000)))


@cache
def friedman() -> Split:
    x, y = make_friedman1(3000, noise=1.0, random_state=0)
    y = torch.tensor((y - y.mean()) / y.std()).float()[:, None]
    return _standardised(_shuffled(torch.tensor(x).float(), y, (1600, 400, 1000)))


@cache
def waves() -> Split:
    x = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = torch.stack([(4 * x[:, 0]).sin() * x[:, 1], (3 * x[:, 1] + 2 * x[:, 2]).cos()], 1)
    return _shuffled(x, y, (2400, 600, 1000))


@cache
def bars() -> Split:
    """Pictures of noise with a bar: a row or a column, and its bright or dark neighbour, or one of two diagonals."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(6, (3000,), generator=generator)
    x = 0.7 * torch.randn(3000, 1, 12, 12, generator=generator)
    steps = torch.arange(12)
    for picture, kind in zip(x[:, 0], y.tolist(), strict=True):
        place = int(torch.randint(10, (1,), generator=generator))
        if kind < 4:
            lines = picture if kind < 2 else picture.T
            lines[place] += 1.0
            lines[place + 1] += 1.0 - 2.0 * (kind % 2)
        else:
            picture[steps, (steps + place) % 12 if kind == 4 else (11 - steps + place) % 12] += 1.5
    return Split(x, y, (1800, 400, 800))


VALIDATION: dict[str, Problem] = {
    "cancer": Problem("", _mlp((30, 32, 32, 1)), cancer, F.binary_cross_entropy_with_logits, 600),
    "wine": Problem("", _mlp((13, 32, 3), nn.LayerNorm), wine, steps=600),
    "blobs": Problem("", _mlp((12, 64, 64, 12)), blobs, steps=1000),
    "blobs-bn": Problem("", _mlp((12, 64, 64, 12), nn.BatchNorm1d), blobs, steps=1000),
    "friedman": Problem("", _mlp((10, 64, 64, 1)), friedman, F.mse_loss, 1000),
    "waves": Problem("", _mlp((3, 64, 64, 64, 2)), waves, F.mse_loss, 1000),
    "bars": Problem("", _cnn, bars, steps=600),
}
