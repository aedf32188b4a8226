"""The tables of the contest's page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.evaluate.methods import Tune
from metalearn_lib.evaluate.verdicts import judge
from metalearn_lib.sources import Sources
from metalearn_lib.statistics import Interval, failure_difference, performance_profile
from metalearn_lib.studies.contest import Contest
from metalearn_lib.studies.contest import contest as contest_study
from metalearn_lib.studies.shared import failing, over

IN_FIGURES = (
    *("sgd", "meta", "adam", "meta-adam", "sgd@mixture", "clip@mixture", "normalised@mixture"),
    "meta-multi",
)
"""Registered names of the methods that figures show."""
RULERS = ("sgd@B", "sgd-layers@B", "adam", "adam_averages", "adam@B", "adam_averages@B")
"""What claims are held against: oracles, from the plainest on, and Adam as it is tuned on task A."""


def verdicts(contest: Contest) -> pd.DataFrame:
    """The verdict on every hypothesis, by `judge`; of a part of the contest none is judged."""
    if contest.registration.whole:
        return judge(contest.registration, contest.results, contest.labels)
    unknown = {"verdict": "not judged in this part", "speed-up": "–", "against": "–", "p": 1.0}
    return pd.DataFrame({each.name: unknown for each in contest.registration.hypotheses}).T


def with_expected(contest: Contest, judged: pd.DataFrame) -> pd.DataFrame:
    """Verdicts, beside what an amendment expects of them."""
    amendment = contest.registration.amendment
    expected = [amendment.expected[str(name)] if amendment else "–" for name in judged.index]
    judged = judged.assign(**{"we expected": expected})
    first = [name for name in ("claim", "prior", "we expected") if name in judged]
    return judged.reindex(columns=[*first, *judged.columns.drop(first)])


def tunings(contest: Contest, registered: Contest | None = None) -> pd.DataFrame:
    """What each tuning on task A or on the mixture may give, by how likely it is, and the cautious choice.

    Args:
        registered: the contest before it was amended, for what its tuning gave.
    """
    study, sources, rows = contest_study(contest.registration), Sources(), {}
    store, first = study.store(), next(iter(contest.results))
    for job in study.jobs:
        tune, numbers = job.recipe, job.numbers
        if job.cell.name != first or not isinstance(tune, Tune) or tune.on is None or numbers is None:
            continue
        facts = store.facts(numbers.key, numbers.digest(sources)) or {"choices": []}
        old = (registered or contest).table.query("method == @job.name and choice == 0").head(1)
        rows[job.name] = {
            "rates, and how likely each is": ", ".join(_told(each) for each in facts["choices"]),
            "one-standard-error choice": _setting(facts["cautious"]) if "cautious" in facts else "–",
            "as registered": "–" if registered is None else ", ".join(map(_setting, old.to_dict("records"))),
        }
    return pd.DataFrame(rows).T


def _told(choice: Mapping[str, float]) -> str:
    return f"{_setting(choice)} ({choice['weight']:.0%})"


def _setting(choice: Mapping[str, float]) -> str:
    return f"{choice['lr']:.3g}" + (f" with {choice['number']:g}" if choice["number"] else "")


def against_rulers(contest: Contest) -> pd.DataFrame:
    """Two learned rates over each ruler and over Adam tuned on A, over the cells in which all meet, and in each."""
    rulers = [each for each in RULERS if each in contest.registration.methods]
    cells = {name: contest.results[name] for name in contest.all_meet}
    return pd.DataFrame(
        {
            (contest.labels[learned], f"over {contest.labels[ruler]}"): {
                "over these cells": str(over(list(cells.values()), *contest.named(learned, ruler)))
            }
            | {name: str(result.speedup(*contest.named(learned, ruler))) for name, result in cells.items()}
            for learned in ("meta", "meta-adam")
            for ruler in rulers
        }
    ).T


def ruler_numbers(table: pd.DataFrame, contest: Contest) -> dict[str, str]:
    """What the book quotes of `against_rulers`: the learned rate on Adam over Adam with its averages tuned on A."""
    line = contest.labels["meta-adam"], f"over {contest.labels.get('adam_averages')}"
    return {"over_averages": table.loc[line, "over these cells"] if line in table.index else "–"}


def verdict_numbers(judged: pd.DataFrame) -> dict[str, Any]:
    """What the book quotes of `verdicts`: those on each hypothesis, and how many there are of each kind."""
    quoted = {"verdict": "verdict", "speedup": "speed-up", "against": "against"}
    each = {f"{name}_{key}": row[told] for name, row in judged.iterrows() for key, told in quoted.items()}
    kinds = ("supported", "refuted", "undecided")
    return each | {f"num_{kind}": int((judged["verdict"] == kind).sum()) for kind in kinds}


def order(contest: Contest) -> list[str]:
    """Everyone as tables list them: as registered, the rulers, re-tuned on the cell itself, last."""

    def is_ruler(name: str) -> bool:
        recipe = contestant(name)[1]
        return isinstance(recipe, Tune) and recipe.on is None

    return contest.named(*sorted(contest.registration.methods, key=is_ruler))


def everywhere(contest: Contest) -> list[str]:
    """Those who meet in every cell."""
    results = contest.results.values()
    return [method for method in order(contest) if all(method in result.outcomes for result in results)]


def by_group(contest: Contest, baseline: str = "sgd") -> pd.DataFrame:
    """Of everyone who meets everywhere, the speed-up over a baseline, over all cells of a group."""
    ruler, groups = contest.labels[baseline], _groups(contest)
    rows = {m: {group: over(cells, m, ruler) for group, cells in groups.items()} for m in everywhere(contest)}
    return pd.DataFrame(rows).T


IN_BRIEF = {
    "home": "task A itself",
    "geometric": "inputs moved or stretched",
    "null": "noise, overlap, turns",
    "structure": "another kind of task",
    "real": "real data",
}
"""The groups that the opening page shows, as it calls them."""


def in_brief(contest: Contest) -> dict[str, dict[str, Interval]]:
    """Speed-ups over SGD tuned on A of learned rates and of Adam, over all cells of a group, by the group."""
    sgd, *shown = contest.named("sgd", "meta", "adam", "meta-adam")
    groups = {IN_BRIEF[name]: cells for name, cells in _groups(contest).items() if name in IN_BRIEF}
    return {told: {method: over(cells, method, sgd) for method in shown} for told, cells in groups.items()}


def brief_numbers(contest: Contest) -> dict[str, str]:
    """The same for geometric shifts, as texts."""
    sgd, meta, adam = contest.named("sgd", "meta", "adam")
    return {
        f"shifted_{name}": str(over(contest.geometric, each, sgd))
        for name, each in (("meta", meta), ("adam", adam))
    }


def where_all_meet(contest: Contest, baseline: str = "sgd") -> pd.DataFrame:
    """Everyone's speed-up over a baseline where all meet: over these cells together, and in each; best first."""
    sgd = contest.labels[baseline]
    cells = {name: contest.results[name] for name in contest.all_meet}
    rows = {
        method: {"over these cells": over(list(cells.values()), method, sgd)}
        | {name: result.speedup(method, sgd) for name, result in cells.items()}
        for method in order(contest)
    }
    return pd.DataFrame(dict(sorted(rows.items(), key=lambda item: -item[1]["over these cells"].value))).T


def profiles(
    contest: Contest,
    factors: NDArray,
    names: Iterable[str] = IN_FIGURES,
    ruler: str = "sgd@B",
    costs: Mapping[str, float] | None = None,
) -> dict[str, NDArray]:
    """Of some methods, the part of geometric runs that cross within a factor of the ruler's time.

    Args:
        costs: what a step costs, by what tables call the method; without them time is counted in steps. A method that
            has none is left out.
    """
    oracle = contest.labels[ruler]
    found = {}
    for method in contest.named(*names):
        if costs is None or method in costs:
            cost = costs[method] / costs[oracle] if costs else 1.0
            each = [_profile(cell.outcomes, method, oracle, factors / cost) for cell in contest.geometric]
            found[method] = np.mean(each, axis=0)
    return found


def _profile(outcomes: Mapping[str, Any], method: str, oracle: str, factors: NDArray) -> NDArray:
    run = outcomes[method]
    return performance_profile(run.steps, run.crossed, outcomes[oracle].steps, factors)


def failures(contest: Contest) -> pd.DataFrame:
    """Of everyone who meets everywhere, the share of failures by group, in per cent, and against SGD's, in pairs."""
    everyone, shares = everywhere(contest), _groups(contest)
    results, sgd = list(contest.results.values()), contest.labels["sgd"]
    before = _crossed(contest.geometric, sgd)
    rows = {}
    for method in everyone:
        pairs = failure_difference(before, _crossed(contest.geometric, method))
        diverged = np.mean(
            [result.over_choices(method, lambda each: 1 - each.finite.mean()) for result in results]
        )
        rows[method] = {
            **{group: f"{100 * failing(cells, method):.1f}" for group, cells in shares.items()},
            "diverged": f"{100 * diverged:.1f}",
            "only SGD": pairs.only_baseline_failed,
            "only it": pairs.only_method_failed,
            "p": "–" if np.isnan(pairs.p_value) else f"{pairs.p_value:.1g}",
        }
    return pd.DataFrame(rows).T


def _crossed(cells: Sequence[CellResult], method: str) -> NDArray:
    return np.concatenate([cell.outcomes[method].crossed for cell in cells], axis=-1)


def _groups(contest: Contest) -> dict[str, list[CellResult]]:
    names = dict.fromkeys(contest.registration.groups[name] for name in contest.results)
    return {name: list(contest.inside(name).values()) for name in names}
