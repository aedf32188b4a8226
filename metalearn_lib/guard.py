"""A guard over a learned rate that is used on models unlike those it was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

FREE = 5
"""Steps before a factor's speed is bounded: a rate that is far off is put right at once."""
SETTLED = 10
"""Steps before a loss can be said to rise."""


class Watch(NamedTuple):
    """What a guard knows of a run: numbers alone, for a state dictionary."""

    num_steps: int = 0
    rest: int = 0
    """steps that it still rests"""
    trust: float = 1.0
    """what part of a log factor above 0 is used"""
    average: float = math.nan
    """running average of the loss, its best so far, and of how far losses lie from it"""
    best: float = math.inf
    spread: float = 0.0

    def trusting_less(self) -> Watch:
        """The rule trusted half as much to raise a rate."""
        return self._replace(trust=self.trust / 2)

    def seeing(self, loss: float, noise: float) -> tuple[bool, Watch]:
        """Whether the loss's average has risen by more than `noise` times its spread above its best, and what comes
        next; after a rise its best is where it is.
        """
        first = math.isnan(self.average)
        spread = 0.0 if first else 0.9 * self.spread + 0.1 * abs(loss - self.average)
        average = loss if first else 0.9 * self.average + 0.1 * loss
        bound = self.best + noise * self.spread + 0.01 * abs(self.best)
        rises = self.num_steps >= SETTLED and average > bound
        best = average if rises else min(self.best, average)
        return rises, self._replace(num_steps=self.num_steps + 1, average=average, best=best, spread=spread)


@dataclass(frozen=True)
class Guard:
    """What keeps a rule within bounds on a model that is like nothing it was trained on.

    Args:
        largest: the factor stays within this many times the rate, either way.
        fastest: after the first five steps it moves by no more than e to this at a step.
        spreads: how far from their centres inputs may lie, of a rule whose card does not say where they lay in
            meta-training. Where one lies further, a log factor above 0 shrinks by how much further; one below 0 does
            not, for that would raise the rate.
        noise: where the loss's running average rises by more than this many times its own noise above its best, the
            factor rests, and the rule is trusted half as much to raise a rate from then on.
        rest: for so many steps, at 1, or where it is if that is lower: a guard never raises a rate.
    """

    largest: float = 100.0
    fastest: float = 2.0
    spreads: float = 4.0
    noise: float = 6.0
    rest: int = 20

    def __call__(
        self, watch: Watch, wanted: float, last: float, furthest: float, loss: float
    ) -> tuple[float, str, Watch]:
        """The log factor that is allowed, what the guard did about it, or nothing, and what it goes on from.

        Args:
            wanted, last: log factors, of this step and of the one before.
            furthest: of the rule's inputs from the middle of where it lay in meta-training, over how far that reaches.
            loss: of this step.
        """
        did, bound = "", math.log(self.largest)
        if furthest > 1 and wanted > 0:
            wanted, did = wanted / furthest, "out of range"
        wanted = max(-bound, min(bound, wanted if wanted < 0 else watch.trust * wanted))
        if watch.num_steps >= FREE and abs(wanted - last) > self.fastest:
            wanted, did = last + math.copysign(self.fastest, wanted - last), "too fast"
        rises, watch = watch.seeing(loss, self.noise)
        if rises:
            watch, did = watch.trusting_less()._replace(rest=self.rest), "rising loss"
        if watch.rest:
            watch = watch._replace(rest=watch.rest - 1)
            wanted = min(wanted, last, 0.0)
        return wanted, did, watch


USUAL = Guard()
"""What is on unless one says otherwise."""
