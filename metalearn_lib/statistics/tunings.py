"""Times of a method that was tuned: at everything that tuning may have given, each with how likely it was.

Where two rates are level on the tuning instances, which of them a method runs at is a draw, and an interval that holds
it fixed is too narrow. So a draw of the bootstrap takes instances, meta-seeds *and* a choice of each tuning. Methods
that run at the rate of one tuning, as a learned rate and the rival whose rate it starts from, are drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from zlib import crc32

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Times:
    """Restricted times of one method in one cell.

    Args:
        steps: `(choices, instances)` or `(choices, meta_seeds, instances)`.
        weights: the probability of each choice `(choices,)`.
        tuning: the name of the tuning; what shares a name shares its draws.
    """

    steps: NDArray
    weights: NDArray
    tuning: str

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.weights) or not np.isclose(self.weights.sum(), 1):
            raise ValueError(
                f"weights {self.weights} for {len(self.steps)} choices: there must be one each, and they must sum to 1."
            )

    def at(self, choices: Mapping[str, int]) -> NDArray | Times:
        """The times at the choice of its tuning, if that is among these."""
        return self.steps[choices[self.tuning]] if self.tuning in choices else self


Runs = NDArray | Times
"""Times `(instances,)` or `(meta_seeds, instances)` of a method that is not tuned, or `Times`."""


def of_meta_seeds(runs: Runs, which: int | slice) -> Runs:
    """The times of one meta-seed, or of some."""
    return replace(runs, steps=runs.steps[:, which]) if isinstance(runs, Times) else runs[which]


def tunings_of(times: Sequence[Runs]) -> dict[str, NDArray]:
    """The weights of each tuning that these depend on, by name."""
    return {each.tuning: each.weights for each in times if isinstance(each, Times)}


def settings(weights: Mapping[str, NDArray]) -> Iterator[tuple[float, dict[str, int]]]:
    """Every choice of each tuning with every choice of the others, and its probability."""
    for choices in product(*(range(len(each)) for each in weights.values())):
        told = dict(zip(weights, choices, strict=True))
        yield float(np.prod([weights[name][choice] for name, choice in told.items()])), told


def over_tunings(
    statistic: Callable[..., tuple[float, NDArray]], times: Sequence[Runs], num_draws: int, seed: int
) -> tuple[float, NDArray]:
    """A statistic over what tuning may have given: its mean, and its draws with a choice of each tuning drawn, too.

    Args:
        statistic: of arrays, one for each of `times`: its value, and its draws `(num_draws,)`.
    """
    weights = tunings_of(times)
    found = [
        (weight, *statistic(*(each.at(choices) if isinstance(each, Times) else each for each in times)))
        for weight, choices in settings(weights)
    ]
    if len(found) == 1:
        return found[0][1:]
    drawn = [_choices(name, tuple(each), num_draws, seed) for name, each in weights.items()]
    index = np.ravel_multi_index(drawn, [len(each) for each in weights.values()])
    value = sum(weight * each for weight, each, _ in found)
    return value, np.stack([draws for _, _, draws in found])[index, np.arange(num_draws)]


@lru_cache(maxsize=64)
def _choices(tuning: str, weights: tuple[float, ...], num_draws: int, seed: int) -> NDArray:
    random = np.random.default_rng([seed, crc32(tuning.encode())])
    ends = np.cumsum(weights)[:-1]
    return np.searchsorted(ends, random.random(num_draws), side="right")
