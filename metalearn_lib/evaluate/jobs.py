"""One method in one cell: what its rows are asked by, the code that they depend on, and how they come about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import torch

from metalearn_lib.cores import one_thread
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.methods import Recipe
from metalearn_lib.evaluate.threshold import Outcome, Target, set_target, steps_to_threshold
from metalearn_lib.fingerprints import fingerprint
from metalearn_lib.inner_loop import Instances
from metalearn_lib.sources import Sources, code_digest
from metalearn_lib.types import Seeds

Methods = Mapping[str, Recipe | Sequence[Recipe]]
Meet = Methods | Callable[[Cell], Methods]
"""Who meets: the same everywhere, or a function of the cell."""


class Question:
    """Something to compute, with its key and its code.

    The key names the question and is the same on every machine. The code is what the answer can depend on.

    Args:
        kind: what is asked.
        call: a function with its arguments, all that the answer is made of.
        names: what the answer is called by; they are part of the key and of nothing else.
        first: what must be answered before.
    """

    def __init__(self, kind: str, call: partial[Any], *names: Any, first: Sequence[Question] = ()) -> None:
        self.kind, self.call, self.names, self.first = kind, call, names, tuple(first)
        self._digest: tuple[Sources, str] | None = None

    def __str__(self) -> str:
        where = [each.name for each in self.call.args if isinstance(each, Cell)]
        return f"the {self.kind} of {', '.join(map(repr, where))}"

    @cached_property
    def key(self) -> str:
        return fingerprint(self.kind, self.names, self.call.args, [each.key for each in self.first])

    @property
    def calls(self) -> list[partial[Any]]:
        """Its own, and those of all that comes before."""
        return [self.call, *(call for each in self.first for call in each.calls)]

    def code(self, sources: Sources) -> Mapping[str, str]:
        """By name, the digests of all definitions that decide the answer."""
        return sources.code(*self.calls)

    def digest(self, sources: Sources) -> str:
        if self._digest is None or self._digest[0] is not sources:
            self._digest = sources, code_digest(self.code(sources))
        return self._digest[1]


@dataclass(frozen=True, eq=False)
class Job:
    """One method in one cell."""

    cell: Cell
    name: str
    meta_seed: int
    recipe: Recipe
    score_seeds: Seeds
    tune_seeds: Seeds

    def __str__(self) -> str:
        return f"{self.name!r} in {self.cell.name!r}"

    @property
    def target(self) -> Question:
        return Question("target", partial(ask_target, self.cell, self.score_seeds))

    @property
    def numbers(self) -> Question | None:
        """What the method's numbers are prepared by; None for one that needs no preparation."""
        return numbers_of(self.recipe.source, self.cell, self.tune_seeds)

    @property
    def tuning(self) -> str:
        """The key of what its numbers are prepared by, and nothing for a method that needs no preparation."""
        return self.numbers.key if self.numbers else ""

    @property
    def rows(self) -> Question:
        first = [each for each in (self.target, self.numbers) if each is not None]
        call = partial(ask_outcome, self.recipe, self.cell, self.score_seeds)
        return Question("rows", call, self.name, self.meta_seed, first=first)


def numbers_of(source: Recipe, cell: Cell, seeds: Seeds) -> Question | None:
    """What a recipe that is nobody else's source is prepared by for use in `cell`; None for one that needs nothing."""
    place = source.place(cell)
    if place is None:
        return None
    own = source.share(seeds)
    first = [Question("target", partial(ask_target, place, own))]
    if source.needs is not None and (before := numbers_of(source.needs, cell, seeds)):
        first.append(before)
    return Question("numbers", partial(ask_numbers, source, place, own), first=first)


def jobs(cells: Sequence[Cell], methods: Meet, score_seeds: Seeds, tune_seeds: Seeds) -> list[Job]:
    """Every method, and every meta-seed of it, in every cell, in the table's order."""
    return [
        Job(cell, name, -1 if isinstance(recipes, Recipe) else meta_seed, recipe, score_seeds, tune_seeds)
        for cell in cells
        for name, recipes in (methods(cell) if callable(methods) else methods).items()
        for meta_seed, recipe in enumerate([recipes] if isinstance(recipes, Recipe) else recipes)
    ]


def definitions_of(asked: Sequence[Job], sources: Sources) -> dict[str, str]:
    """By name, the digests of all definitions that decide the rows of these jobs."""
    found: dict[str, str] = {}
    for job in asked:
        found |= job.rows.code(sources)
    return found


def ask_target(cell: Cell, seeds: Seeds) -> dict[str, Any]:
    """`set_target`'s answer, as plain numbers."""
    target = set_target(cell, seeds)
    return {
        name: value if isinstance(value, int) else value.tolist() for name, value in target._asdict().items()
    }


def target_of(facts: dict[str, Any]) -> Target:
    """The target that `ask_target` told."""
    tensors = {name: torch.tensor(facts[name]) for name in ("prior_loss", "reference_loss", "threshold")}
    return Target(**tensors, cap=facts["cap"])


def ask_numbers(
    source: Recipe, place: Cell, seeds: Seeds, facts: dict[str, Any], *before: dict[str, Any]
) -> dict[str, Any]:
    """A recipe's preparation, given the target there and the preparation of the recipe that it needs first."""
    with one_thread():
        return source.prepare(place, seeds, target_of(facts), *before)


UNPREPARED: dict[str, Any] = {"choices": [{"weight": 1.0}]}


def ask_outcome(
    recipe: Recipe, cell: Cell, seeds: Seeds, facts: dict[str, Any], numbers: dict[str, Any] = UNPREPARED
) -> list[Outcome]:
    """Training on every instance to its threshold, at each choice of the method's numbers."""
    with one_thread():
        target = target_of(facts)
        instances = _instances(cell, seeds, target.cap)
        return [
            steps_to_threshold(recipe.method(choice, cell, seeds).loop(cell), instances, target)
            for choice in numbers["choices"]
        ]


@lru_cache(maxsize=2)
def _instances(cell: Cell, seeds: Seeds, num_steps: int) -> Instances:
    return cell.draw(seeds, num_steps)


def columns(
    job: Job, outcomes: Sequence[Outcome], target: dict[str, Any], numbers: dict[str, Any] = UNPREPARED
) -> Iterator[tuple[str, Any]]:
    """What a table says of a job's rows, name by name, choice by choice; single values hold for all of them."""
    choices = numbers["choices"]

    def each(values: Sequence[Any]) -> np.ndarray:
        return np.repeat(np.array(values), len(job.score_seeds))

    def all_of(values: Sequence[Any]) -> np.ndarray:
        return np.tile(np.array(values), len(choices))

    steps = np.concatenate([outcome.steps for outcome in outcomes])
    yield from {
        "cell": job.cell.name,
        "method": job.name,
        "meta_seed": job.meta_seed,
        "choice": each(range(len(choices))),
        "instance": all_of(list(job.score_seeds)),
        "steps": steps,
        "epochs": steps / job.cell.steps_per_epoch,
        "crossed": np.concatenate([outcome.crossed for outcome in outcomes]),
        "finite": np.concatenate([outcome.finite for outcome in outcomes]),
        "cap": target["cap"],
        "steps_per_epoch": job.cell.steps_per_epoch,
        **{name: all_of(target[name]) for name in ("threshold", "reference_loss", "prior_loss")},
        **{name: each([one.get(name, np.nan) for one in choices]) for name in ("lr", "number", "weight")},
        "tuning_gradients": numbers.get("num_gradients", 0),
        "tuning": job.tuning,
    }.items()
