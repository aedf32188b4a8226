"""Whether what the contest found stands: over meta-seeds, by other measures, at other thresholds, in other cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import contestant
from metalearn_lib.statistics import (
    Interval,
    headroom_interval,
    pool_speedups,
    ratio_of_means,
    ratio_of_medians,
    regret,
    restricted_speedup,
    verdict,
    win_probability,
)
from metalearn_lib.statistics.tunings import of_meta_seeds
from metalearn_lib.studies.contest import LEFT, PER_DIRECTION, Contest
from metalearn_lib.studies.shared import Speedups, failing, over, times

TIERS = {
    "T0": "new instances of A",
    "T1": "trained shift, trained severities",
    "T2": "beyond them",
    "T3": "another kind of task",
    "T4": "another set-up",
    "T5": "real data",
}


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
