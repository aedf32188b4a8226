"""Tuning as a draw: every setting that other tuning instances might have preferred, and how likely each was to win.

The winner on a few instances is a matter of luck where two rates are level. So the losses by instance of all that could
win are kept, and a bootstrap over instances says how often each does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, arange

from metalearn_lib.cores import one_thread
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.threshold import Target, steps_to_threshold
from metalearn_lib.evaluate.tuning import GRID, refuse_end
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.statistics.paired import resampled
from metalearn_lib.types import Seeds

WIDTHS = (0.5, 0.25, 0.125)
"""Decades between rates: over the whole grid, then on both sides of all that may still win."""
NEVER = 1e-5
"""The chance to win below which a setting is dropped."""
LEAST_WEIGHT, MOST_CHOICES = 0.02, 6
"""Settings that win in fewer draws than this, or come after so many likelier ones, are not run on scored instances."""
_BLOCKS = (32, 64, 128, 256)

Setting = tuple[float, float]
"""A rate in decades, and a further number."""


class Drawn(NamedTuple):
    """What tuning may give."""

    winner: Setting
    """the best on all instances"""
    weights: dict[Setting, float]
    """how likely each setting is to win, the winner first, then from the likeliest on; they sum to 1"""
    cautious: Setting
    """the least rate within one standard error of the winner"""
    steps: dict[Setting, NDArray]
    """restricted steps by instance of all that could win"""
    num_gradients: int
    """minibatch gradients spent on all that was tried"""


@one_thread()
def draw_winners(
    cell: Cell,
    make_loop: Callable[[float, float], InnerLoop],
    seeds: Seeds,
    target: Target,
    numbers: Sequence[float] = (0.0,),
    open_ended: bool = False,
) -> Drawn:
    """Race all settings, and drop one as soon as it has no chance to win on instances drawn anew.

    The criterion is that of `search`, the mean log of restricted steps.

    Args:
        make_loop: `make_loop(rate, number)`.
        seeds: instances to tune on; never those that score.
        target: what there is to reach on them.
        numbers: what to try for the further number.
        open_ended: whether the upper end of the grid may be the best.

    Raises:
        ValueError: for seeds whose role is not `"tune"`.
        RuntimeError: when the best rate lies at an end of the grid, 10^-6 to 10^2.
    """
    seeds.require("tune")
    instances = cell.draw(seeds, target.cap)
    threshold = target.threshold
    logs: dict[Setting, NDArray] = {}
    tried: set[Setting] = set()
    spent = 0

    def best(size: int) -> NDArray | None:
        known = [each for each in logs.values() if len(each) >= size]
        return min(known, key=lambda each: float(each[:size].mean()), default=None)

    def extend(setting: Setting, size: int) -> None:
        """Race a setting on as many instances, or drop it."""
        nonlocal spent
        before = logs.get(setting, np.zeros(0))
        ruler = best(size)

        def is_beaten(least: Tensor) -> bool:
            now = np.concatenate([before, np.log(least.numpy())])
            return ruler is not None and now.mean() > ruler[:size].mean() and never(now - ruler[:size])

        new = arange(len(before), size)
        part = target._replace(threshold=threshold[new])
        outcome = steps_to_threshold(
            make_loop(10 ** setting[0], setting[1]), instances.take(new), part, is_beaten
        )
        spent += outcome.num_gradients
        logs[setting] = np.concatenate([before, np.log(outcome.steps)])
        if outcome.gave_up:
            del logs[setting]

    def race(settings: Iterable[Setting]) -> None:
        entering = [each for each in settings if each not in tried]
        tried.update(entering)
        for size in [*(each for each in _BLOCKS if each < len(seeds)), len(seeds)]:
            for setting in [*logs, *(each for each in entering if size == min(_BLOCKS[0], len(seeds)))]:
                if len(logs.get(setting, ())) < size:
                    extend(setting, size)
            ruler = best(size)
            assert ruler is not None
            for setting, own in list(logs.items()):
                shared = min(len(own), len(ruler))
                if own is not ruler and never(own[:shared] - ruler[:shared]):
                    del logs[setting]

    low, high = GRID
    coarse = sorted(np.arange(low, high + WIDTHS[0] / 2, WIDTHS[0]), key=lambda decade: abs(decade + 1))
    race((float(decade), number) for decade in coarse for number in numbers)
    for width in WIDTHS[1:]:
        beside = [(decade + side, number) for decade, number in logs for side in (-width, width)]
        race(each for each in beside if low <= each[0] <= high)

    winner = min(logs, key=lambda each: float(logs[each].mean()))
    refuse_end(cell, make_loop(10 ** winner[0], winner[1]), winner[0], open_ended, len(seeds))
    gaps = {setting: own - logs[winner] for setting, own in logs.items()}
    level = [each for each, gap in gaps.items() if gap.mean() <= gap.std() / np.sqrt(len(gap))]
    steps = {setting: np.exp(own).round() for setting, own in logs.items()}
    return Drawn(winner, weights_of(logs, winner), min(level), steps, spent)


def weights_of(logs: dict[Setting, NDArray], winner: Setting) -> dict[Setting, float]:
    """How often each setting has the least mean over instances drawn with replacement; of the likeliest few."""
    settings = list(logs)
    means = resampled(len(logs[winner])) @ np.stack([logs[each] for each in settings], 1)
    shares = np.bincount(means.argmin(1), minlength=len(settings)) / len(means)
    found = dict(zip(settings, shares.tolist(), strict=True))
    likeliest = sorted(found, key=lambda each: (each != winner, -found[each]))
    kept = {
        each: found[each]
        for each in likeliest[:MOST_CHOICES]
        if each == winner or found[each] >= LEAST_WEIGHT
    }
    total = sum(kept.values())
    return {each: share / total for each, share in kept.items()}


def never(gaps: NDArray) -> bool:
    """Whether a setting with these `log steps - log steps of the best` wins among as many drawn anew with a chance
    below `NEVER`, by Chernoff's bound.

        P(mean gap* <= 0) <= min_t (mean exp(-t gap))^n,   t > 0

    References: Chernoff (1952) [chernoff1952measure].
    """
    mean = gaps.mean()
    if mean <= 0:
        return False
    rates = mean / (gaps**2).mean() * np.array([0.5, 1, 2, 4, 16])
    moments = np.exp(-rates[:, None] * gaps).mean(1)
    return bool(len(gaps) * np.log(moments.min()) < np.log(NEVER))
