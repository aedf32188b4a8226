"""Task families: distributions of small classification problems, synthetic and real."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Generator, Tensor

from metalearn_lib.trees import stack
from metalearn_lib.types import Seeds, Task


class TaskFamily(ABC):
    """A distribution of classification tasks, all of one shape, so that they stack."""

    num_features: int
    num_classes: int
    num_points: int

    @abstractmethod
    def sample(self, generator: Generator) -> Task:
        """Draw one task; every random number comes from `generator`."""

    def stack(self, seeds: Seeds) -> Task:
        """The tasks of `seeds`, stacked along a leading axis. A task depends on its own seed alone."""
        return stack([self.sample(seeds.generator(index, "data")) for index in seeds])


@dataclass(frozen=True)
class GaussianMixture(TaskFamily):
    """Gaussian blobs at random places, `blobs` of them to a class, so that a class need not be one region.

        mean_b ~ N(0, separation^2 I),   b ~ Uniform(blobs),   x ~ N(mean_b, spread^2 I),   y = class of b

    Every input then has mean 0 and variance `separation^2 + spread^2` over the family, by which it is divided: the
    preprocessing that a pipeline fitted to this family would freeze. A shift of the family acts on these inputs, so
    its severity is in the family's standard deviations. As `spread` goes to 0 the classes
    separate perfectly.

    Args:
        blobs: blobs of each class.
        separation: standard deviation of the blobs' means, raw units.
        spread: standard deviation within a blob, raw units.
        num_points, num_test: training and held-out points of a task.
    """

    num_classes: int = 4
    num_features: int = 2
    blobs: int = 2
    num_points: int = 1024
    num_test: int = 512
    separation: float = 2.0
    spread: float = 1.0

    def sample(self, generator: Generator) -> Task:
        num_blobs = self.num_classes * self.blobs
        means = self.separation * torch.randn(num_blobs, self.num_features, generator=generator)
        total = self.num_points + self.num_test
        blob = torch.randint(num_blobs, (total,), generator=generator)
        y = blob % self.num_classes
        x = means[blob] + self.spread * torch.randn(total, self.num_features, generator=generator)
        return _split(x / (self.separation**2 + self.spread**2) ** 0.5, y, self.num_points)


@dataclass(frozen=True)
class Moons(TaskFamily):
    """Two half circles that reach into each other, with Gaussian noise; each task turned and mirrored at random.

        class 0: (cos a, sin a),   class 1: (1 - cos a, 1/2 - sin a),   a ~ Uniform(0, pi)

    Inputs are standardised with the shape's own mean and standard deviation.

    Args:
        noise: standard deviation of the noise, in radii.
    """

    noise: float = 0.2
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 2
    num_classes: int = 2

    def sample(self, generator: Generator) -> Task:
        total = self.num_points + self.num_test
        y = torch.randint(2, (total,), generator=generator)
        angle = math.pi * torch.rand(total, generator=generator)
        sign = 1 - 2 * y
        x = torch.stack([y + sign * angle.cos(), y / 2 + sign * angle.sin()], 1)
        x = x + self.noise * torch.randn(total, 2, generator=generator)
        variance = torch.tensor([3 / 4, 9 / 16 - 1 / math.pi]) + self.noise**2
        x = (x - torch.tensor([0.5, 0.25])) / variance.sqrt()
        return _split(x @ _random_turn(generator), y, self.num_points)


@dataclass(frozen=True)
class Spirals(TaskFamily):
    """Two spiral arms wound into each other, with Gaussian noise; each task turned and mirrored at random.

        x = r (cos b, sin b),   b = 2 pi turns r + pi class,   r ~ sqrt(Uniform(0, 1))

    Inputs are standardised: `r^2` has mean 1/2, so that each feature has variance `1/4 + noise^2`.

    Args:
        turns: of each arm.
        noise: standard deviation of the noise, where an arm is 1 long.
    """

    turns: float = 0.75
    noise: float = 0.05
    num_points: int = 1024
    num_test: int = 512
    num_features: int = 2
    num_classes: int = 2

    def sample(self, generator: Generator) -> Task:
        total = self.num_points + self.num_test
        y = torch.randint(2, (total,), generator=generator)
        radius = torch.rand(total, generator=generator).sqrt()
        angle = 2 * math.pi * self.turns * radius + math.pi * y
        x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
        x = x + self.noise * torch.randn(total, 2, generator=generator)
        return _split(x / math.sqrt(1 / 4 + self.noise**2) @ _random_turn(generator), y, self.num_points)


def _random_turn(generator: Generator) -> Tensor:
    """A turn of the plane by a random angle, half the time with a reflection."""
    axes, triangle = torch.linalg.qr(torch.randn(2, 2, generator=generator))
    return axes * triangle.diagonal().sign()  # without the signs it would be no uniform one


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
        x, y = _load("digits")
        return x / 16, y

    def divide(self) -> Tensor:
        """How much ink there is."""
        return self.rows()[0].sum(1)


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
        x, y = _load("breast_cancer")
        return (x - x.mean(0)) / x.std(0), y


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
        x, y = _load("wine")
        return (x - x.mean(0)) / x.std(0), y


@cache
def _load(name: str) -> tuple[Tensor, Tensor]:
    from sklearn import datasets  # imported late: it takes a second, and only real data needs it

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y, dtype=torch.int64)


def split(x: Tensor, y: Tensor, num_points: int, generator: Generator, total: int | None = None) -> Task:
    """A task of `total` rows at random, all by default; the first `num_points` train."""
    chosen = torch.randperm(len(y), generator=generator)[:total]
    return _split(x[chosen], y[chosen], num_points)


def _split(x: Tensor, y: Tensor, num_points: int) -> Task:
    return Task(x[:num_points], y[:num_points], x[num_points:], y[num_points:])
