"""On a knife's edge? Every headline over the tuned rate that it rests on, and how likely tuning is to give that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from metalearn_lib.cards import load_theta, rule_of
from metalearn_lib.directions import DIRECTIONS
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import LEARNED
from metalearn_lib.evaluate.methods import Method, Recipe
from metalearn_lib.evaluate.registration import ALL_MEET, Registration, read_registration
from metalearn_lib.rates.constant import Constant
from metalearn_lib.statistics import Interval
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.contest import Contest

PAIRS = {"sgd": "meta", "adam": "meta-adam"}
"""Rules that are tuned, each with the learned rate that builds on it."""
EIGHTHS = {"sgd": range(-8, 9), "adam": range(-18, -3)}
"""The grid of rates, in eighths of a decade."""


def sensitivity(registration: Registration) -> Study:
    """SGD, Adam and the deployed learned rates on them at every rate of a grid, in the cells in which all meet."""
    places = tuple(cell for name, cell in registration.cells.items() if name in ALL_MEET)
    methods: dict[str, Recipe] = {}
    for rule, learned in PAIRS.items():
        kind, label, file = DIRECTIONS[rule], LEARNED[learned][0], LEARNED[learned][2]
        theta, card = load_theta(file)
        for decade in decades(rule):
            made = rule_of(card["config"] | {"direction": rule}, theta, 10**decade)
            methods[at(kind.label, decade)] = Method(kind(), Constant(10**decade))
            methods[at(label, decade)] = Method(*made)
    return Study("sensitivity", places, methods, registration.score_seeds, registration.tune_seeds)


def decades(rule: str) -> list[float]:
    """The grid of a rule's rates, in decades."""
    return [each / 8 for each in EIGHTHS[rule]]


def at(label: str, decade: float) -> str:
    """What the study calls a method at a rate."""
    return f"{label} at {decade:g}"


class Claim(NamedTuple):
    """What a learned rate gains over the rule that it builds on, by the rate that both have."""

    rule: str
    decades: list[float]
    cells: dict[str, list[Interval]]
    """by cell, the speed-up at each rate"""
    weights: list[float]
    """how likely tuning on task A is to give each"""
    registered: float
    """the decade that the registered tuning gave"""


def claim(results: Mapping[str, CellResult], rule: str, contest: Contest, registered: Contest) -> Claim:
    """The claim on the learned rate that builds on a rule.

    Args:
        results: of the study.
        contest: as amended, for the weights.
        registered: the contest as it was registered.
    """
    label, learned = DIRECTIONS[rule].label, LEARNED[PAIRS[rule]][0]
    grid = decades(rule)
    cells = {
        name: [result.speedup(at(learned, each), at(label, each)) for each in grid]
        for name, result in results.items()
    }
    rows = contest.table[contest.table.method == contest.labels[rule]]
    tuned = rows.groupby("choice")[["lr", "weight"]].first()
    weight = {_eighth(lr): share for lr, share in zip(tuned["lr"], tuned["weight"], strict=True)}
    old = registered.table.loc[registered.table.method == registered.labels[rule], "lr"].iloc[0]
    return Claim(label, grid, cells, [weight.get(each, 0.0) for each in grid], _eighth(old))


def _eighth(lr: float) -> float:
    return round(8 * float(np.log10(lr))) / 8


def kept() -> list[Study]:
    """The study of the kept table."""
    return [sensitivity(read_registration().held())]
