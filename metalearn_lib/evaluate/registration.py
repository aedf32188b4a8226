"""What was registered before meta-training, who meets by it, and the traps that no contest may spring."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch

from metalearn_lib.cards import load_thetas
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate.cells import Cell, home_cell
from metalearn_lib.evaluate.contest import by_cell
from metalearn_lib.evaluate.contestants import LEARNED, contestant, rival
from metalearn_lib.evaluate.jobs import Methods
from metalearn_lib.evaluate.methods import Learn, Recipe, Tune, as_draw
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.shifts import make_shift
from metalearn_lib.shifts.standardised import Standardised
from metalearn_lib.tasks import TASKS
from metalearn_lib.tasks.base import TaskFamily
from metalearn_lib.types import Seeds

PREREGISTRATION = Path(__file__).with_name("preregistration.toml")
AMENDMENT = Path(__file__).with_name("amendment.toml")
SECOND = Path(__file__).with_name("preregistration2.toml")

MAP = "map"
"""The group of cells that only show the head-room."""
HELD = ("home", "geometric", "null", "real")
"""The groups of cells that the kept table holds."""
ALL_MEET = ("task A", "translate 2", "scale 0.25", "scale 4", "anisotropy 16", "digits")
"""Cells in which rivals that no hypothesis names meet, too."""
NO_THRESHOLD = ("imbalance 0.97",)
"""Cells that were registered and cannot be held: on some scored instance the reference learns nothing."""
SET_ASIDE = ("wine, natural split",)
"""Cells that were held and that judge nothing: no method crosses there on nine in ten instances."""
GEOMETRIC = ("translate", "scale", "anisotropy")


class Hypothesis(NamedTuple):
    """A claim on the mean log speed-up over the cells of some groups."""

    name: str
    claim: str
    method: str
    baselines: list[str]
    """it must hold against each"""
    groups: list[str]
    asks: Literal["better", "no worse", "equivalent"]
    prior: str
    captures: float | None = None
    """the head-room that must be captured besides"""
    margin: float | None = None
    """the speed-up that it must be above, where that is another than 1.10 or 1/1.10"""


class Amendment(NamedTuple):
    """What is done otherwise than registered; written, and hashed, before the contest was held again."""

    changed: list[str]
    why: str
    tuning: int
    """instances that tune"""
    methods: list[str]
    """who meets besides, where all meet"""
    expected: dict[str, str]
    """by hypothesis"""
    sha256: str


class Registration(NamedTuple):
    """The whole of a registration."""

    cells: dict[str, Cell]
    groups: dict[str, str]
    """by the cell's name"""
    tiers: dict[str, str]
    methods: list[str]
    map_methods: list[str]
    """who meets in the cells of the head-room map"""
    training: dict[str, dict[str, Any]]
    """by the learned contestant's name, the settings of its meta-training"""
    hypotheses: list[Hypothesis]
    score_seeds: Seeds
    tune_seeds: Seeds
    meta_seeds: int
    sha256: str
    whole: bool = True
    """false for a part of it, from which no verdict may be drawn"""
    amendment: Amendment | None = None
    """with one, what is tuned is a draw; see `Tune`"""
    version: int = 1
    drawn: bool = False
    """whether what is tuned is a draw without an amendment, too"""
    all_meet: tuple[str, ...] = ALL_MEET
    """cells in which rivals that no hypothesis names meet, too"""
    left_out: tuple[str, ...] = GEOMETRIC
    """shifts that have a meta-optimizer whose training left them out"""
    held_groups: tuple[str, ...] = HELD
    """the groups of cells that the kept table holds"""
    sure: str = "scale 4"
    """a cell in which a win over SGD must be seen"""

    @property
    def table(self) -> str:
        """The name of the kept table."""
        return "second" if self.version == 2 else "contest" if self.amendment is None else "amended"

    def amend(self, path: str | os.PathLike[str] = AMENDMENT) -> Registration:
        """What is held by an amendment to it."""
        content = Path(path).read_bytes()
        amendment = Amendment(**tomllib.loads(content.decode()), sha256=hashlib.sha256(content).hexdigest())
        return self._replace(
            methods=[*self.methods, *amendment.methods],
            tune_seeds=replace(self.tune_seeds, count=amendment.tuning),
            amendment=amendment,
        )

    def as_tuned(self, recipes: Recipe | Sequence[Recipe]) -> Recipe | Sequence[Recipe]:
        """Contestants, of an amended registration tuned as a draw; of several meta-seeds those that meet."""
        if not isinstance(recipes, Recipe):
            recipes = recipes[: self.meta_seeds]
        return as_draw(recipes) if self.amendment is not None or self.drawn else recipes

    def part(
        self,
        cells: Sequence[str],
        num_instances: int,
        num_tuning: int,
        meta_seeds: int,
        methods: Sequence[str] | None = None,
    ) -> Registration:
        """Some cells, fewer instances, perhaps fewer methods: enough to see that all works; of the whole, `held`.

        Args:
            cells: names; none is all of them.

        Raises:
            ValueError: for a cell that is not registered.
        """
        if unknown := set(cells) - set(self.cells):
            raise ValueError(
                f"cells {sorted(unknown)} are not registered; there are {', '.join(self.cells)}."
            )
        sizes = (num_instances, num_tuning, meta_seeds)
        if not cells and sizes == (len(self.score_seeds), len(self.tune_seeds), self.meta_seeds):
            return self.held()
        kept = cells or list(self.cells)
        return self._replace(
            cells={name: self.cells[name] for name in kept},
            groups={name: self.groups[name] for name in kept},
            methods=[name for name in self.methods if methods is None or name in methods],
            score_seeds=Seeds("score", num_instances, self.score_seeds.start),
            tune_seeds=Seeds("tune", num_tuning, self.tune_seeds.start),
            meta_seeds=meta_seeds,
            whole=False,
        )

    def held(self) -> Registration:
        """What the kept table holds: the cells of the hypotheses, and real data. All cells take hours."""
        kept = [name for name, group in self.groups.items() if group in self.held_groups]
        return self._replace(
            cells={name: self.cells[name] for name in kept}, groups={name: self.groups[name] for name in kept}
        )

    def others(self) -> Registration:
        """The cells that `held` leaves out, in which only the head-room's few rules meet and, outside the map, three
        learned rates.
        """
        left = [name for name, group in self.groups.items() if group not in self.held_groups]
        return self._replace(
            cells={name: self.cells[name] for name in left},
            groups={name: self.groups[name] for name in left},
            methods=[*self.map_methods, "meta", "meta-multi", "meta-adam"],
            whole=False,
        )

    @property
    def judged(self) -> Registration:
        """What verdicts rest on: all but the cells that a trap has set aside."""
        kept = [name for name in self.cells if name not in SET_ASIDE]
        return self._replace(
            cells={name: self.cells[name] for name in kept}, groups={name: self.groups[name] for name in kept}
        )

    @property
    def in_hypotheses(self) -> set[str]:
        """Names of the methods that the hypotheses are about, their rulers, and the other learned rates."""
        named = {name for each in self.hypotheses for name in (each.method, *each.baselines)}
        return named | {"sgd", "sgd@B", "adam"} | (set(self.methods) & set(LEARNED))

    @property
    def scored(self) -> list[Cell]:
        """The cells, without those that have no threshold."""
        return [cell for name, cell in self.cells.items() if name not in NO_THRESHOLD]

    def in_groups(self, *groups: str) -> list[str]:
        """Names of the cells of some groups, in order."""
        return [name for name, group in self.groups.items() if group in groups]


def read_registration(path: str | os.PathLike[str] = PREREGISTRATION) -> Registration:
    """The registration in a TOML file, with the SHA-256 of its bytes.

    A file of version 2 names the cells in which all meet, and all of its cells are held; whoever is tuned is a draw.

    Raises:
        ValueError: for a cell, or a hypothesis on a group, that there is not.
    """
    content = Path(path).read_bytes()
    facts = tomllib.loads(content.decode())
    cells = {each["name"]: make_cell(each) for each in facts["cells"]}
    groups = {each["name"]: each["group"] for each in facts["cells"]}
    hypotheses = [Hypothesis(**each) for each in facts["hypotheses"]]
    for each in hypotheses:
        if unknown := set(each.groups) - set(groups.values()):
            raise ValueError(f"{each.name} is on groups {sorted(unknown)}, of which no cell is registered.")
    seeds, contest = facts["seeds"], facts["contest"]
    registration = Registration(
        cells,
        groups,
        {each["name"]: each["tier"] for each in facts["cells"]},
        contest["methods"],
        contest.get("map", []),
        facts["training"],
        hypotheses,
        Seeds("score", **seeds["score"]),
        Seeds("tune", **seeds["tune"]),
        seeds["meta_seeds"],
        hashlib.sha256(content).hexdigest(),
    )
    if facts.get("version", 1) == 1:
        return registration
    return registration._replace(
        version=facts["version"],
        drawn=True,
        all_meet=tuple(contest["all_meet"]),
        left_out=(),
        held_groups=tuple(dict.fromkeys(groups.values())),
        sure=contest["sure"],
    )


def make_cell(facts: Mapping[str, Any]) -> Cell:
    """The cell that a registration describes: a family, perhaps shifted, by one shift or by several in turn, perhaps
    standardised on its own points, and what differs in the learner's set-up.

    Raises:
        ValueError: for a family, shift or setting that there is not.
    """
    setting: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
    }
    name, family = setting.pop("name"), setting.pop("family", "mixture")
    try:
        made: TaskFamily = TASKS.find(family)()
    except ValueError as fault:
        raise ValueError(f"cell {name!r}: {fault}") from fault
    for shift, severity in facts.get("shifts", ()):
        made = make_shift(shift, made, severity)
    if "shift" in setting:
        made = make_shift(setting.pop("shift"), made, setting.pop("severity"))
    if setting.pop("standardised", False):
        made = Standardised(made)
    for label in ("group", "tier", "shifts"):
        setting.pop(label, None)
    try:
        return replace(home_cell(), name=name, family=made, **setting)
    except TypeError as fault:
        raise ValueError(f"cell {name!r} has a setting that there is not: {fault}.") from fault


class TrapSprung(AssertionError):
    """A check of the protocol failed, so that no number of the contest may be believed."""


PLACEBO, LEFT_OUT = "placebo", "left-out"


def contestants(registration: Registration) -> tuple[Callable[[Cell], Methods], dict[str, str]]:
    """Who meets in each cell, and what results call each registered name.

    Beside the registered methods stand the placebo, an untrained meta-optimizer; and in a cell of a shift that one
    meta-training left out, the meta-optimizer of that training. In the cells of the head-room map only its few rules
    meet.

    Raises:
        TrapSprung: when a learned contestant was trained before, or under another, registration.
    """
    for name in registration.training:
        if load_thetas(name)[1].get("registration") != registration.sha256:
            raise TrapSprung(
                f"{name!r} was not trained under the registration {registration.sha256[:16]}; train it again with "
                f"`python -m metalearn_lib train --registered {name}`."
            )

    def named(name: str) -> tuple[str, Recipe | Sequence[Recipe]]:
        label, recipes = contestant(name)
        return label, registration.as_tuned(recipes)

    everyone = {name: named(name) for name in registration.methods}
    labels = {name: label for name, (label, _) in everyone.items()} | {
        PLACEBO: "untrained meta-optimizer",
        LEFT_OUT: "meta-optimizer, family left out",
    }
    untrained = registration.as_tuned(
        Learn(
            Gradient(),
            LearnedRate(1.0, MetaOptimizer().init_theta(torch.Generator().manual_seed(0))),
            Tune(rival(Gradient), home_cell()),
        )
    )
    left_out = {shift: named(f"meta:sgd_without_{shift}")[1] for shift in registration.left_out}

    def meet(cell: Cell) -> Methods:
        if registration.groups[cell.name] == MAP:
            return dict(everyone[name] for name in registration.map_methods)
        here = everyone
        if registration.whole and cell.name not in registration.all_meet:
            here = {name: each for name, each in everyone.items() if name in registration.in_hypotheses}
        geometric = registration.groups[cell.name] == "geometric" and left_out
        more = {labels[LEFT_OUT]: left_out[cell.family.name]} if geometric else {}
        return dict(here.values()) | {labels[PLACEBO]: untrained} | more

    return meet, labels


def check_traps(registration: Registration, table: pd.DataFrame, labels: Mapping[str, str]) -> None:
    """The protocol's traps, each a check on the contest's table, in the cells of the registration; a part of a contest
    is spared what chance decides.

    That clipping must be seen to win on scale 4 rested on the registered draw of SGD's rate, as the first amended table
    showed: where SGD is not at the largest of its rates, clipping need not win. There the oracle must be seen to.

    Raises:
        TrapSprung: for a threshold that the prior passes, or that nobody reaches; a placebo that is not SGD, bit for
            bit; a harness that cannot see a rule win where it must; a win in a null cell that is larger than at home
            and larger than what SGD gains there, re-tuned by an oracle.
    """
    table = table.loc[table.cell.isin(registration.cells)]
    passed = table[(table.threshold >= table.prior_loss) | (table.threshold <= table.reference_loss)]
    if len(passed):
        raise TrapSprung(
            f"{len(passed)} thresholds do not lie between reference and prior, first in {passed.cell.iloc[0]}."
        )
    results = by_cell(table)
    sgd = labels["sgd"]
    for name, result in results.items():
        if max(outcome.crossed.mean() for outcome in result.outcomes.values()) < 0.9:
            raise TrapSprung(
                f"cell {name!r}: no method crosses on nine in ten instances, so nobody reaches the threshold."
            )
        if labels[PLACEBO] in result.outcomes and not all(
            np.array_equal(own.steps, other.steps)
            for own, other in zip(result.choices(labels[PLACEBO]), result.choices(sgd), strict=True)
        ):
            raise TrapSprung(f"cell {name!r}: the untrained meta-optimizer is not SGD, bit for bit.")
    if not registration.whole:
        return
    meta = labels["meta"]
    as_registered = registration.version == 1 and registration.amendment is None
    sure = labels["clip@mixture" if as_registered else "sgd@B"]
    won = results[registration.sure].speedup(sure, sgd)
    if won.low <= 1:
        raise TrapSprung(
            f"{sure} on {registration.sure} is {won} times as fast as SGD, and it must be seen to win."
        )
    home = results["task A"].speedup(meta, sgd)
    for name in registration.in_groups("null"):
        won, headroom = (results[name].speedup(each, sgd) for each in (meta, labels["sgd@B"]))
        if won.low > max(home.high, headroom.high):
            raise TrapSprung(
                f"the null cell {name!r} shows a speed-up of {won}, above {home} at home and above its head-room "
                f"{headroom}: a bug?"
            )
