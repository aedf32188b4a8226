"""The tables of the contest's page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metalearn_lib.cards import load_thetas
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import LEARNED, contestant
from metalearn_lib.evaluate.methods import Tune
from metalearn_lib.evaluate.overhead import overheads
from metalearn_lib.evaluate.registration import contestants
from metalearn_lib.evaluate.verdicts import judge
from metalearn_lib.sources import Sources
from metalearn_lib.statistics import (
    Interval,
    break_even_tasks,
    failure_difference,
    headroom_interval,
    performance_profile,
    pool_speedups,
    ratio_of_means,
    ratio_of_medians,
    regret,
    restricted_speedup,
    trials_to_overtake,
    verdict,
    win_probability,
)
from metalearn_lib.statistics.tunings import of_meta_seeds
from metalearn_lib.studies.contest import DECADES, LEFT, PER_DIRECTION, Contest
from metalearn_lib.studies.contest import contest as contest_study
from metalearn_lib.studies.shared import Speedups, failing, few, over, times

IN_FIGURES = (
    *("sgd", "meta", "adam", "meta-adam", "sgd@mixture", "clip@mixture", "normalised@mixture"),
    "meta-multi",
)
"""Registered names of the methods that figures show."""
RULERS = ("sgd@B", "sgd-layers@B", "adam", "adam_averages", "adam@B", "adam_averages@B")
"""What claims are held against: oracles, from the plainest on, and Adam as it is tuned on task A."""
TIERS = {
    "T0": "new instances of A",
    "T1": "trained shift, trained severities",
    "T2": "beyond them",
    "T3": "another kind of task",
    "T4": "another set-up",
    "T5": "real data",
}


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


def step_costs(contest: Contest, num_steps: int = 50, compiled: bool = False) -> dict[str, float]:
    """By method, the processor time of a step over that of SGD's, measured now, in the first cell.

    Args:
        compiled: whether in C++, of the methods that its loop holds.
    """
    part = contest.registration
    cell = part.cells[next(iter(contest.results))]
    meet = contestants(part)[0](cell)
    here = {method: meet[method] for method in order(contest) if method in meet}
    rows = contest.table[contest.table.cell == cell.name]
    numbers = rows.groupby("method", observed=True)[["lr", "number"]].first().T.to_dict()
    return overheads(here, numbers, cell, few(part.tune_seeds), num_steps, compiled)


def adjusted(contest: Contest, costs: Mapping[str, float]) -> dict[str, float]:
    """By method, the speed-up over SGD tuned on A in the geometric cells, over what a step costs."""
    sgd = contest.labels["sgd"]
    return {
        method: over(contest.geometric, method, sgd).value / costs[method]
        for method in everywhere(contest)
        if method in costs
    }


def ledger(contest: Contest, costs: Mapping[str, float]) -> pd.DataFrame:
    """What everyone cost: a step, tuning, meta-training, and after how many geometric tasks that has paid for itself.

    Args:
        costs: as `step_costs` gives them.
    """
    sgd, adam = contest.named("sgd", "adam")
    tuning = contest.table.groupby("method", observed=True, sort=False)["tuning_gradients"].max()
    paid = _paid(contest)
    fair = adjusted(contest, costs)
    rows = {
        method: {
            "overhead": f"{costs[method]:.2f}" if method in costs else "–",
            "adjusted": f"{fair[method]:.2f}" if method in fair else "–",
            "tuning": f"{tuning[method]:,}",
            "meta-training": f"{paid[method]:,}" if method in paid else "–",
            "break-even over SGD": _break_even(contest.geometric, paid.get(method), method, sgd),
            "break-even over Adam": _break_even(contest.geometric, paid.get(method), method, adam),
        }
        for method in order(contest)
    }
    return pd.DataFrame(rows).T


def _paid(contest: Contest) -> dict[str, int]:
    """Gradients that meta-training cost, with all meta-seeds."""
    learned = [name for name in LEARNED if name in contest.registration.methods]
    return {
        contest.labels[name]: load_thetas(LEARNED[name][2])[1]["gradient_evaluations_all_seeds"]
        for name in learned
    }


def _break_even(cells: Sequence[CellResult], paid: int | None, method: str, baseline: str) -> str:
    if paid is None:
        return "–"
    tasks = break_even_tasks(paid, times(cells, baseline), times(cells, method)).value
    return "never" if np.isinf(tasks) else f"{tasks:,.0f}"


def by_meta_seed(results: Mapping[str, CellResult], method: str, baseline: str) -> Speedups:
    """Each meta-seed's own speed-up, with an interval over instances alone."""
    return {
        name: {
            f"meta-seed {n}": restricted_speedup(
                result.times(baseline), of_meta_seeds(result.times(method), n)
            )
            for n in range(len(result.outcomes[method].steps))
        }
        for name, result in results.items()
    }


def widest(seeds: Speedups) -> dict[str, Any]:
    """The cell in which meta-seeds differ most, and the least and the greatest of their speed-ups there."""
    spread = {name: [each.value for each in row.values()] for name, row in seeds.items()}
    name = max(spread, key=lambda name: max(spread[name]) / min(spread[name]))
    return {"widest_cell": name, "widest_low": min(spread[name]), "widest_high": max(spread[name])}


def measures(results: Mapping[str, CellResult], method: str, baseline: str, oracle: str) -> pd.DataFrame:
    """One method over a baseline by six measures; a dash where there is nothing to be captured."""
    rows = {}
    for name, result in results.items():
        before, after, best = map(result.times, (baseline, method, oracle))
        rows[name] = {
            "speed-up": restricted_speedup(before, after),
            "of means": ratio_of_means(before, after),
            "of medians": ratio_of_medians(before, after),
            "P(sooner)": win_probability(before, after),
            "regret to the oracle": regret(after, best),
            "captured": headroom_interval(before, after, best),
        }
    return pd.DataFrame(rows).T.map(lambda each: "–" if np.isnan(each.value) else str(each))


def at_thresholds(
    contest: Contest, elsewhere: Mapping[str, CellResult], cells: Iterable[str]
) -> pd.DataFrame:
    """What two learned rates gain with a tenth of the learnable loss left, and with less and more.

    Args:
        elsewhere: of the study `deltas`.
        cells: of the contest.
    """
    less, more = LEFT
    sgd, oracle, adam, meta, meta_adam = contest.named("sgd", "sgd@B", "adam", "meta", "meta-adam")
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for name in cells:
        at = {
            less: elsewhere[f"{name}, {less}"],
            "a tenth left": contest.results[name],
            more: elsewhere[f"{name}, {more}"],
        }
        rows[name] = {}
        for told, result in at.items():
            rows[name] |= {
                (told, "head-room"): f"{result.speedup(oracle, sgd).value:.2f}",
                (told, "meta over SGD"): str(result.speedup(meta, sgd)),
                (told, "on Adam over Adam"): str(result.speedup(meta_adam, adam)),
            }
    return pd.DataFrame(rows).T


def per_direction(results: Mapping[str, CellResult]) -> pd.DataFrame:
    """What learned rates add to each direction at the rate tuned on A.

    Args:
        results: of the study `directions`.
    """
    pairs = {told: [contestant(name)[0] for name in pair] for told, pair in PER_DIRECTION.items()}
    ruler, momentum = contestant("momentum@B")[0], contestant("momentum")[0]
    rows = {
        name: {"head-room of momentum": f"{result.speedup(ruler, momentum).value:.2f}"}
        | {told: str(result.speedup(*pair)) for told, pair in pairs.items()}
        for name, result in results.items()
    }
    return pd.DataFrame(rows).T


def beyond(contest: Contest, results: Mapping[str, CellResult]) -> pd.DataFrame:
    """What the learned rates do in the cells of no hypothesis, of which the map's have none.

    Args:
        contest: with the others.
        results: of those cells.
    """
    sgd, oracle, adam, meta, meta_adam = contest.named("sgd", "sgd@B", "adam", "meta", "meta-adam")
    watched = {"SGD": sgd, "meta": meta, "Adam": adam, "on Adam": meta_adam}
    rows = {
        name: {
            "group": contest.registration.groups[name],
            "head-room": str(result.speedup(oracle, sgd)),
            "meta over SGD": str(result.speedup(meta, sgd)),
            "on Adam over Adam": str(result.speedup(meta_adam, adam)),
        }
        | {f"{told} fails": f"{100 * failing([result], m):.0f} %" for told, m in watched.items()}
        for name, result in results.items()
        if meta in result.outcomes
    }
    return pd.DataFrame(rows).T


def extremes(met: Mapping[str, Interval]) -> dict[str, str]:
    """The cells of the least and of the greatest speed-up, as the book quotes them."""
    ends = {"least": min(met, key=lambda name: met[name]), "most": max(met, key=lambda name: met[name])}
    return {
        f"{end}_{key}": told
        for end, name in ends.items()
        for key, told in (("cell", name), ("speedup", str(met[name])))
    }


def by_tier(contest: Contest) -> pd.DataFrame:
    """What two learned rates gain over all cells of a tier, as seen from the rules trained on task A and its shifts."""
    sgd, oracle, adam, many, meta_adam = contest.named("sgd", "sgd@B", "adam", "meta-multi", "meta-adam")
    met = {name: result for name, result in contest.results.items() if many in result.outcomes}
    rows = {}
    for tier, told in TIERS.items():
        if cells := [result for name, result in met.items() if contest.registration.tiers[name] == tier]:
            gained, on_adam = over(cells, many, sgd), over(cells, meta_adam, adam)
            rows[f"{tier}: {told}"] = {
                "cells": len(cells),
                "head-room": f"{over(cells, oracle, sgd).value:.2f}",
                "meta, many families, over SGD": str(gained),
                "verdict": verdict(gained),
                "on Adam over Adam": str(on_adam),
                "verdict on Adam": verdict(on_adam),
            }
    return pd.DataFrame(rows).T


def a_new_cell(contest: Contest) -> pd.DataFrame:
    """The mean over geometric cells, and where another may lie; nothing of fewer than three cells."""
    sgd, oracle, adam, meta, meta_adam = contest.named("sgd", "sgd@B", "adam", "meta", "meta-adam")
    pairs = {
        "meta-optimizer over SGD": (meta, sgd),
        "meta-optimizer over the oracle": (meta, oracle),
        "meta-optimizer on Adam over Adam": (meta_adam, adam),
    }
    cells, rows = contest.geometric, {}
    for told, (method, baseline) in pairs.items() if len(cells) >= 3 else ():
        before, after = times(cells, baseline), times(cells, method)
        found = pool_speedups(before, after)
        kinds = {"mean": found.mean, "a new cell": found.prediction}
        rows[told] = {kind: str(Interval(*np.exp(each))) for kind, each in kinds.items()}
    return pd.DataFrame(rows).T


def overtaken(
    tried: Mapping[str, CellResult], results: Mapping[str, CellResult], method: str
) -> pd.DataFrame:
    """After how many trials on B plain SGD is sooner than a method that has none, by how many tasks share the trials.

    Args:
        tried: of the study `trials`.
    """
    rows = {}
    for name, result in tried.items():
        runs = np.stack([result.outcomes[f"{decade:g}"].steps for decade in DECADES])
        own, tasks = results[name].outcomes[method].steps.ravel(), (1, 10, 100)
        trials = {n: trials_to_overtake(runs, range(len(runs)), own, n) for n in tasks}
        rows[name] = {f"{n} to share": "never" if np.isinf(k) else f"{k:.0f}" for n, k in trials.items()}
    return pd.DataFrame(rows).T
