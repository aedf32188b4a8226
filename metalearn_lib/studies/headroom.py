"""What is there to win? What a constant rate gains that is re-tuned on the very cell, and where it goes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from metalearn_lib.evaluate.cells import Cell, home_cell
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.registration import MAP, Registration
from metalearn_lib.shifts.base import Shift
from metalearn_lib.statistics import Interval
from metalearn_lib.studies.contest import Contest
from metalearn_lib.studies.shared import layers

WIDE = 1.2
"""From where on head-room counts as some; see `headroom_interval`."""
HALF_A_DECADE = 0.49  # the tuned rates lie on eighths of a decade, up to rounding

Rooms = Mapping[str, Mapping[str, Interval]]
"""By rule and cell."""


def difference(cell: Cell) -> Hashable:
    """In what a cell differs from task A, apart from how much: its shifts, its kind of task, fields of its set-up."""
    home = home_cell()
    settings = {each.name for each in fields(Cell)} - {"name", "family"}
    changed = frozenset(name for name in settings if getattr(cell, name) != getattr(home, name))
    *wrapped, drawn = layers(cell.family)
    return tuple(type(each) for each in wrapped if isinstance(each, Shift)), type(drawn), changed


def kinds(registration: Registration) -> dict[str, str]:
    """By cell, the group of the first one that differs from task A in the same.

    So a cell that was registered for the map alone stands with others of its shift, as does a standardised one.
    """
    first: dict[Hashable, str] = {}
    for name, group in registration.groups.items():
        if group != MAP:
            first.setdefault(difference(registration.cells[name]), group)
    return {name: first.get(difference(registration.cells[name]), MAP) for name in registration.cells}


def in_order(contest: Contest) -> dict[str, CellResult]:
    """The results, kind by kind."""
    kind = kinds(contest.registration)
    places = list(dict.fromkeys(kind.values()))
    return dict(sorted(contest.results.items(), key=lambda item: places.index(kind[item[0]])))


def rooms(contest: Contest) -> Rooms:
    """By rule and cell, what re-tuning the constant rate on the cell itself gains over the rate tuned on A."""
    rules = {"SGD": contest.named("sgd@B", "sgd"), "Adam": contest.named("adam@B", "adam")}
    return {
        rule: {name: result.speedup(*pair) for name, result in in_order(contest).items()}
        for rule, pair in rules.items()
    }


def numbers(room: Rooms, registration: Registration) -> dict[str, Any]:
    """What the page quotes: how many cells have head-room, the most of it, and what of that was not expected."""
    wide = {
        rule: [name for name, each in cells.items() if each.value >= WIDE] for rule, cells in room.items()
    }
    sgd, kind = room["SGD"], kinds(registration)
    most = max(sgd, key=lambda name: sgd[name].value)
    null = [name for name in sgd if kind[name] == "null"]
    roomy = [f"{name} ({sgd[name]})" for name in wide["SGD"] if registration.groups[name] == "null"]
    surprise = "We had registered as a cell without head-room what turned out to have some: "
    return {
        "num_sgd": len(wide["SGD"]),
        "num_adam": len(wide["Adam"]),
        "most": most,
        "most_room": str(sgd[most]),
        "all_null": len(null),
        "num_null": sum(name not in wide["SGD"] for name in null),
        "not_null": surprise + ", ".join(roomy) + "." if roomy else "",
    }


def moved(contest: Contest, room: Rooms) -> pd.DataFrame:
    """The cells in which the best rate of SGD is at least half a decade from task A's."""
    sgd, oracle, adam = contest.named("sgd", "sgd@B", "adam")
    best = (
        contest.table[contest.table.method == oracle].groupby("cell", observed=True, sort=False)["lr"].first()
    )
    home = best.get("task A", best.iloc[0])
    rows = {
        name: {
            "best rate of SGD": f"{best[name]:.3g}",
            "over task A's": f"{best[name] / home:.3g}",
            "head-room": str(room["SGD"][name]),
            "SGD fails": f"{result.num_failed(sgd)} of {result.outcomes[sgd].steps.size}",
            "Adam over re-tuned SGD": str(result.speedup(adam, oracle)),
        }
        for name, result in in_order(contest).items()
        if abs(np.log10(best[name] / home)) >= HALF_A_DECADE
    }
    return pd.DataFrame(rows).T
