"""The registered contest, and what its page asks beside it: other thresholds, directions and numbers of trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd

from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.cells import home_cell
from metalearn_lib.evaluate.contest import CellResult, by_cell
from metalearn_lib.evaluate.contestants import contestant, rival
from metalearn_lib.evaluate.methods import Recipe, Tune
from metalearn_lib.evaluate.registration import (
    ALL_MEET,
    Registration,
    check_traps,
    contestants,
    read_registration,
)
from metalearn_lib.studies.base import Study

LEFT = {"a twentieth left": 0.05, "a quarter left": 0.25}
"""Thresholds beside the contest's, as the part of the learnable loss that is left."""
PER_DIRECTION = {
    "on momentum": ("meta-momentum", "momentum"),
    "one for all, on SGD": ("meta:all_multi", "sgd"),
    "one for all, on momentum": ("meta-momentum:all_multi", "momentum"),
    "one for all, on Adam": ("meta-adam:all_multi", "adam"),
}
"""Learned rates on other directions, each with the rule that it is held against."""
DECADES = (0, -0.5, 0.5, -1, 1, -1.5, -2, -2.5, -3)
"""Rates that are tried on B, in this order, as decades from the one tuned on A."""
TRIED_IN = ("translate 2", "scale 4", "anisotropy 16")
"""Cells in which they are."""


@dataclass(frozen=True)
class Contest:
    """A contest that was held.

    Args:
        registration: the whole, or a part of it.
        table: a row for every run.
        labels: what the table calls each registered name, the placebo and the left-out ones.
    """

    registration: Registration
    table: pd.DataFrame
    labels: Mapping[str, str]

    @cached_property
    def results(self) -> dict[str, CellResult]:
        return by_cell(self.table)

    def named(self, *names: str) -> list[str]:
        """What the table calls them."""
        return [self.labels[name] for name in names]

    def inside(self, *groups: str) -> dict[str, CellResult]:
        """The cells of some groups."""
        group_of = self.registration.groups
        return {name: result for name, result in self.results.items() if group_of[name] in groups}

    @property
    def geometric(self) -> list[CellResult]:
        """The geometric cells; all cells of a part that has none."""
        return list((self.inside("geometric") or self.results).values())

    @property
    def all_meet(self) -> list[str]:
        """Names of the cells in which everyone meets."""
        return [
            name for name in self.results if name in self.registration.all_meet or not self.registration.whole
        ]

    @property
    def judged(self) -> Contest:
        """Without the cells that a trap has set aside; a part, of which nothing is judged, stays as it is."""
        if not self.registration.whole:
            return self
        registration = self.registration.judged
        return replace(
            self, registration=registration, table=self.table[self.table.cell.isin(registration.cells)]
        )

    def with_others(self, workers: int | None = None) -> Contest:
        """And the cells that no hypothesis is about, which go with the whole; a part stays as it is.

        Raises:
            TrapSprung: see `check_traps`.
        """
        if not self.registration.whole:
            return self
        rest, table = self._everything.others(), others(self._everything).table(workers)
        check_traps(rest, table, self.labels)
        cells, groups = self.registration.cells | rest.cells, self.registration.groups | rest.groups
        more = self.registration._replace(cells=cells, groups=groups)
        return replace(self, registration=more, table=pd.concat([self.table, table]))

    @property
    def _everything(self) -> Registration:
        """All that was registered, amended if this is."""
        whole = read_registration()
        return whole if self.registration.amendment is None else whole.amend()

    def with_rulers(self, workers: int | None = None) -> Contest:
        """And Adam re-tuned on B in the cells of the whole in which the contest does not have it."""
        if not self.registration.whole:
            return self
        table = rulers(self._everything.held()).table(workers)
        return replace(self, table=pd.concat([self.table, table]))


def as_registered(workers: int | None = None) -> Contest:
    """The whole contest as it was registered, before it was held again by the amendment."""
    registration = read_registration().held()
    return Contest(registration, *hold(registration, workers))


def beside(registration: Registration, names: Iterable[str]) -> Registration:
    """With further rivals, who meet the others where those meet whom no hypothesis names; no verdict is about them.

    Raises:
        ValueError: for one that is registered already, or shares a label with one that is.
    """
    taken = {contestant(name)[0]: name for name in registration.methods}
    for name in names:
        label = contestant(name)[0]
        if label in taken:
            raise ValueError(
                f"{name!r} is called {label!r} in tables, as is {taken[label]!r}, who meets already; leave it out, or "
                "give it another label."
            )
        taken[label] = name
    return registration._replace(methods=list(taken.values()))


def contest(registration: Registration) -> Study:
    """Everyone who is registered, in every registered cell that has a threshold; held again where it is amended."""
    return _study(registration.table, registration, registration)


def others(registration: Registration) -> Study:
    """The cells that the kept contest leaves out."""
    return _study("others", registration.others(), registration)


def _study(name: str, part: Registration, whole: Registration) -> Study:
    return Study(name, tuple(part.scored), contestants(part)[0], whole.score_seeds, whole.tune_seeds)


def hold(
    registration: Registration, workers: int | None = None, progress: bool = True
) -> tuple[pd.DataFrame, dict]:
    """Hold the registered contest, or go on with it, and spring no trap.

    Returns:
        A row for every run, and what the table calls each registered name, the placebo and the left-out ones.

    Raises:
        TrapSprung: see `contestants` and `check_traps`.
    """
    labels = contestants(registration)[1]
    table = contest(registration).table(workers, progress)
    check_traps(registration.judged, table, labels)
    return table, labels


def rulers(registration: Registration) -> Study:
    """Adam re-tuned on B in the cells in which the contest does not have it."""
    cells = tuple(cell for cell in registration.scored if cell.name not in ALL_MEET)
    methods = _of_meta_seeds(registration, ["adam@B"])
    return Study("rulers", cells, methods, registration.score_seeds, registration.tune_seeds)


def deltas(registration: Registration, cells: Sequence[str]) -> Study:
    """The contest's main methods at other thresholds."""
    places = tuple(
        replace(registration.cells[name], name=f"{name}, {told}", delta=delta)
        for name in cells
        for told, delta in LEFT.items()
    )
    methods = _of_meta_seeds(registration, ("sgd", "sgd@B", "adam", "meta", "meta-adam"))
    return Study("deltas", places, methods, registration.score_seeds, registration.tune_seeds)


def directions(registration: Registration, cells: Sequence[str]) -> Study:
    """Learned rates on momentum, and one rate for all directions."""
    names = dict.fromkeys(["sgd", "momentum@B", *(name for pair in PER_DIRECTION.values() for name in pair)])
    places = tuple(registration.cells[name] for name in cells)
    methods = _of_meta_seeds(registration, tuple(names))
    return Study("directions", places, methods, registration.score_seeds, registration.tune_seeds)


def trials(registration: Registration, cells: Sequence[str]) -> Study:
    """SGD at rates that are tried one after another on B, named by their decades from the rate tuned on A."""
    tuned = Tune(rival(Gradient), home_cell())
    tried = {
        f"{decade:g}": registration.as_tuned(replace(tuned, base_lr_factor=10.0**decade))
        for decade in DECADES
    }
    places = tuple(registration.cells[name] for name in cells)
    return Study("trials", places, tried, registration.score_seeds, registration.tune_seeds)


def _of_meta_seeds(registration: Registration, names: Sequence[str]) -> dict[str, Recipe | Sequence[Recipe]]:
    return {label: registration.as_tuned(each) for label, each in map(contestant, names)}


def kept() -> list[Study]:
    """The studies of the kept tables, at the registered size."""
    whole = read_registration()
    amended = whole.amend()
    return [
        contest(amended.held()),
        contest(whole.held()),
        others(amended),
        rulers(amended.held()),
        deltas(amended.held(), ALL_MEET),
        directions(amended.held(), ALL_MEET),
        trials(amended.held(), TRIED_IN),
    ]
