"""The second registered contest, of the update per weight, and the tables that only its page has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.registration import SECOND, read_registration
from metalearn_lib.statistics import describe, restricted_speedup
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.contest import Contest, contest
from metalearn_lib.studies.contest_tables import verdicts
from metalearn_lib.studies.shared import failing, over, speedups

IN_FIGURES = (
    "adam",
    "adam@B",
    "adam_averages@B",
    "muon@mixture",
    "soap@mixture",
    "meta-adam",
    "meta-update",
)
"""Registered names of the methods that figures show."""
TODAY = ("muon@mixture", "soap@mixture", "lion@mixture", "adan@mixture", "adamg@mixture")
"""The directions of 2023 to 2025."""
GOALS = {
    "home and geometric": (("home", "geometric"), "adam@B", 0.50),
    "home and geometric, averages re-tuned": (("home", "geometric"), "adam_averages@B", 0.60),
    "families, set-ups and real data never met": (("structure", "set-up", "real"), "adam@B", 0.85),
}
"""What the update was meant to need of a ruler's time."""


def goals(contest: Contest) -> pd.DataFrame:
    """The update's time over a ruler's, over the cells of some groups, beside what it was meant to be."""
    update, rows = contest.labels["meta-update"], {}
    for told, (groups, ruler, wanted) in GOALS.items():
        cells = list(contest.inside(*groups).values())
        if cells:
            time = over(cells, contest.labels[ruler], update)
            worst = max(cells, key=lambda cell: cell.speedup(contest.labels[ruler], update).value)
            rows[told] = {
                "time over": contest.labels[ruler],
                "is": str(time),
                "meant to be": f"{wanted:.2f}",
                "worst cell": f"{worst.name}, {worst.speedup(contest.labels[ruler], update)}",
            }
    return pd.DataFrame(rows).T


def by_clock(contest: Contest, clocks: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """The verdicts by gradients, and by each clock on which a step counts for what it costs.

    Args:
        clocks: by name, `contest_costs.step_costs`; a claim is judged only where all of its methods have a cost.
    """
    part, columns = contest.registration, {"gradients": _told(verdicts(contest))}
    for clock, costs in clocks.items():
        claims = [
            each
            for each in part.hypotheses
            if all(contest.labels.get(name) in costs for name in (each.method, *each.baselines))
        ]
        if claims:
            registration = part._replace(hypotheses=claims)
            columns[clock] = _told(verdicts(replace(_timed(contest, costs), registration=registration)))
    return pd.DataFrame(columns, pd.Index([each.name for each in part.hypotheses])).fillna("not timed")


def home_speedup(contest: Contest, costs: Mapping[str, float]) -> str:
    """The update over the re-tuned Adam, at home and under geometric shift, where steps count for their cost."""
    update, oracle = contest.named("meta-update", "adam@B")
    cells = list(_timed(contest, costs).inside("home", "geometric").values()) if update in costs else []
    return str(over(cells, update, oracle)) if cells else "–"


def step_over_adam(contest: Contest, costs: Mapping[str, float]) -> str:
    """How many times a step of Adam one of the update costs."""
    adam, update = contest.named("adam", "meta-update")
    return f"{costs[update] / costs[adam]:.2f}" if {adam, update} <= costs.keys() else "–"


def _told(judged: pd.DataFrame) -> pd.Series:
    return judged["speed-up"] + ", " + judged["verdict"]


def _timed(contest: Contest, costs: Mapping[str, float]) -> Contest:
    rows = contest.table[contest.table.method.isin(costs)]
    return replace(contest, table=rows.assign(steps=rows.steps * rows.method.map(costs).astype(float)))


def headroom(contest: Contest) -> pd.DataFrame:
    """Cell by cell, what there was to win over Adam tuned on A: by re-tuning it, and what the update won."""
    adam, *others = contest.named("adam", "adam@B", "adam_averages@B", "meta-update")
    table = pd.DataFrame(speedups(contest.results, dict.fromkeys(others, adam))).T.map(str)
    fails = {
        name: {f"{label} fails": f"{100 * failing([cell], label):.0f} %" for label in (adam, others[-1])}
        for name, cell in contest.results.items()
    }
    return table.join(pd.DataFrame(fails).T)


def mis_set(contest: Contest) -> pd.DataFrame:
    """What a base rate a hundred times too small or too great costs: the time there over that on task A, in pairs.

    A rule that was tuned on A brings that rate along. The instances are the same.
    """
    wrong = contest.inside("base rate")
    home = contest.results.get("task A")
    if home is None or not wrong:
        return pd.DataFrame({"told in the whole contest": []})
    names = contest.named("sgd", "adam", "meta", "meta-adam", "meta-update")
    return pd.DataFrame(
        {
            name: {label: str(restricted_speedup(cell.times(label), home.times(label))) for label in names}
            for name, cell in wrong.items()
        }
    )


def in_brief(contest: Contest) -> dict[str, str]:
    """The page's sentences: at home and under geometric shift, elsewhere, and where the update is worst."""
    update, oracle = contest.named("meta-update", "adam@B")
    home, elsewhere = (list(contest.inside(*GOALS[told][0]).values()) for told in list(GOALS)[::2])
    told = {
        "home_sentence": "at home and under geometric shift the learned update",
        "new_sentence": "on families, set-ups and real data that it never met it",
    }
    sentences = {
        name: _capital(describe(who, "Adam re-tuned on the setting", over(cells, update, oracle)))
        if cells
        else ""
        for (name, who), cells in zip(told.items(), (home, elsewhere), strict=True)
    }
    rival = _best_direction(home, [contest.labels[name] for name in TODAY if name in contest.labels])
    sentences["rival_sentence"] = (
        describe("There it", f"{rival}, the best of the directions of today", over(home, update, rival))
        if rival
        else ""
    )
    worst = min(contest.results.values(), key=lambda cell: cell.speedup(update, oracle).value)
    sentences["worst_sentence"] = (
        f"The update is worst on {worst.name}, {worst.speedup(update, oracle)} times as fast as Adam re-tuned there."
    )
    return sentences


def _best_direction(cells: Sequence[CellResult], names: Sequence[str]) -> str | None:
    """The one that is soonest over some cells, of those who meet in all of them."""
    meet = [name for name in names if cells and all(name in cell.outcomes for cell in cells)]
    return max(meet, key=lambda name: over(cells, name, meet[0]).value, default=None)


def set_aside(held: Contest) -> pd.DataFrame:
    """Of each cell that no verdict rests on: who crosses most often and how often, the update, and its speed-up."""
    update, oracle = held.named("meta-update", "adam@B")
    rows = {}
    for name in held.results.keys() - held.judged.results.keys():
        cell = held.results[name]
        best = min(cell.outcomes, key=cell.failing)
        rows[name] = {
            f"{who} reaches it on": f"{100 - 100 * cell.failing(who):.0f} %" for who in (best, update, oracle)
        }
        rows[name][f"{update} over {oracle}"] = str(cell.speedup(update, oracle))
    return pd.DataFrame(rows).T


def with_set_aside(held: Contest, judged: pd.DataFrame) -> pd.DataFrame:
    """The verdicts that would have other numbers if they rested on the cells set aside as well."""
    whole = verdicts(held)
    columns = ["speed-up", "p (Holm)", "verdict"]
    return whole.reindex(columns=columns).loc[whole["speed-up"] != judged["speed-up"]]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def kept() -> list[Study]:
    """The studies of the kept tables."""
    return [contest(read_registration(SECOND).held())]
