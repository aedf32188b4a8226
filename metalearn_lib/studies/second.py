"""The second registered contest, of the update per weight, and the tables that only its page has."""

from __future__ import annotations

import pandas as pd

from metalearn_lib.evaluate.registration import SECOND, read_registration
from metalearn_lib.statistics import describe, restricted_speedup
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.contest import Contest, contest
from metalearn_lib.studies.shared import failing, over, speedups

IN_FIGURES = (
    "adam",
    "adam@mixture",
    "adam@B",
    "adam_averages@B",
    "muon@mixture",
    "soap@mixture",
    "meta-adam",
    "meta-update",
)
"""Registered names of the methods that figures show."""
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
        name: _capital(describe(who, "Adam re-tuned on the cell", over(cells, update, oracle)))
        if cells
        else ""
        for (name, who), cells in zip(told.items(), (home, elsewhere), strict=True)
    }
    worst = min(contest.results.values(), key=lambda cell: cell.speedup(update, oracle).value)
    sentences["worst_sentence"] = (
        f"The update is worst on {worst.name}, {worst.speedup(update, oracle)} times as fast as Adam re-tuned there."
    )
    return sentences


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def kept() -> list[Study]:
    """The studies of the kept tables."""
    return [contest(read_registration(SECOND).held())]
