"""How we tried to break our own result: for each way in which it could be luck, a check that would have caught it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from metalearn_lib.cards import load_theta, load_thetas
from metalearn_lib.directions.adam import Adam
from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.contestants import LEARNED, contestant
from metalearn_lib.evaluate.methods import Recipe
from metalearn_lib.evaluate.registration import Registration, read_registration
from metalearn_lib.evaluate.threshold import REFERENCE_CADENCE, REFERENCE_RATES, held_out_curve
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.rates.constant import Constant
from metalearn_lib.shifts.base import Shift
from metalearn_lib.shifts.random_family import MIXTURE
from metalearn_lib.statistics import Interval, restricted_speedup, verdict
from metalearn_lib.studies.base import Study
from metalearn_lib.studies.contest import Contest
from metalearn_lib.studies.shared import failing, log_gains, over
from metalearn_lib.types import Seeds

CLAIMS = {
    "meta-optimizer over SGD": ("meta", "sgd"),
    "many families, over SGD": ("meta-multi", "sgd"),
    "meta-optimizer on Adam over Adam": ("meta-adam", "adam"),
}
"""What the book says of learned rates, each over the rule whose tuned rate it starts from."""
PLACES = ("home", "geometric", "null", "real")
"""Groups of cells in which it is said."""
FRESH = ("task A", "translate 2", "translate 4", "scale 0.25", "scale 4", "anisotropy 16", "digits")
"""Cells that are held again on instances that nobody had seen."""
LAYERED = "meta-optimizer by layer"
NEW = ("sgd", "sgd@B", "sgd-layers@B", "adam", "adam@B", "adam_averages", "meta", "meta-adam")
"""Who meets there, beside the rule with a rate per layer."""
TOGETHER = {"all": "all geometric cells", "rest": "those that no cap decides"}
"""Lines of `capped` over several cells, and what the page's numbers call them."""
CAPPED = 0.5
"""From this share of failures on, a median time is the cap's."""


def fresh(registration: Registration) -> Study:
    """The main claims on instances that were drawn after every rule and every choice had been made."""
    methods: dict[str, Recipe | Sequence[Recipe]] = {}
    for label, recipes in [*map(contestant, NEW), (LAYERED, contestant("meta:sgd_layers")[1])]:
        methods[label] = registration.as_tuned(recipes)
    seeds = Seeds("score", len(registration.score_seeds), 2 * registration.score_seeds.start)
    cells = tuple(cell for name, cell in registration.cells.items() if name in FRESH)
    return Study("fresh", cells, methods, seeds, registration.tune_seeds)


def held_up(
    contest: Contest, layered: Mapping[str, CellResult], again: Mapping[str, CellResult]
) -> pd.DataFrame:
    """Each claim on the instances that were scored, and on fresh ones.

    Args:
        layered: of the study `ahead`, which has the rule with a rate per layer, by the name `ahead.LAYERED`.
        again: of the study `fresh`.
    """
    pairs = {
        "meta-optimizer over SGD": ("meta", "sgd"),
        "meta-optimizer over the oracle": ("meta", "sgd@B"),
        "meta-optimizer on Adam over Adam": ("meta-adam", "adam"),
        "meta-optimizer on Adam over its oracle": ("meta-adam", "adam@B"),
    }
    rows = {}
    for name, new in again.items():
        for told, pair in pairs.items():
            old = contest.results.get(name)
            labels = contest.named(*pair)
            if old is not None and all(label in old.outcomes for label in labels):
                rows[told, name] = _before_and_after(old.speedup(*labels), new.speedup(*labels))
        if name in layered:
            oracle = contest.labels["sgd@B"]
            before = layered[name].speedup("and a rate per layer", oracle)
            rows["a rate per layer over the oracle", name] = _before_and_after(
                before, new.speedup(LAYERED, oracle)
            )
    return pd.DataFrame(rows).T.sort_index(level=0, sort_remaining=False, kind="stable")


def _before_and_after(before: Interval, after: Interval) -> dict[str, str]:
    apart = before.high < after.low or after.high < before.low
    return {"as scored": str(before), "on fresh instances": str(after), "apart": "yes" if apart else "no"}


def deployed_ranks(contest: Contest) -> pd.DataFrame:
    """Where the deployed meta-seed of each learned rate stands among all of its own, by speed-up over its rule."""
    rows = {}
    for name, base in {"meta": "sgd", "meta-multi": "sgd", "meta-adam": "adam"}.items():
        method, baseline = contest.named(name, base)
        own = deployed_seed(LEARNED[name][2])
        for group in PLACES:
            cells = list(contest.inside(group).values())
            if not cells:
                continue
            gains = log_gains(cells, method, baseline)
            rank = 1 + int((gains > gains[own]).sum()) if own < len(gains) else 0
            rows[method, group] = {
                "deployed": f"{np.exp(gains[own]):.2f}" if rank else "–",
                "rank": f"{rank} of {len(gains)}" if rank else "–",
                "mean of all": f"{np.exp(gains.mean()):.2f}",
                "least and most": f"{np.exp(gains.min()):.2f} to {np.exp(gains.max()):.2f}",
            }
    return pd.DataFrame(rows).T


def rank_numbers(ranks: pd.DataFrame) -> dict[str, str]:
    """What the page quotes of `deployed_ranks`: the rule on Adam, on real data."""
    line = ("meta-optimizer on Adam", "real")
    row = ranks.loc[line] if line in ranks.index else dict.fromkeys(["rank", "deployed", "mean of all"], "–")
    return {f"adam_real_{key.split()[0]}": row[key] for key in ("rank", "deployed", "mean of all")}


def deployed_seed(file: str) -> int:
    """The number of the meta-seed that ships as a file's rule."""
    (theta, _), (thetas, _) = load_theta(file), load_thetas(file)
    return next(number for number, each in enumerate(thetas) if torch.equal(each, theta))


def by_choice(contest: Contest, registered: Contest | None = None) -> pd.DataFrame:
    """Each claim at every rate that its tuning may give, and at the registered one; does its verdict hang on it?"""
    rows = {}
    for told, names in CLAIMS.items():
        method, baseline = contest.named(*names)
        for group in PLACES:
            cells = list(contest.inside(group).values())
            if not cells:
                continue
            at = [_at(cells, method, baseline, n) for n in range(len(cells[0].choices(baseline)))]
            if registered is not None:
                at.append(over(list(registered.inside(group).values()), method, baseline))
            kinds = {verdict(each) for each in at}
            rows[told, group] = {
                "over all draws": str(over(cells, method, baseline)),
                "at each rate, the likeliest first": ", ".join(
                    map(str, at[: len(cells[0].choices(baseline))])
                ),
                "at the registered one": str(at[-1]) if registered is not None else "–",
                "hangs on the draw": "yes" if len(kinds) > 1 else "no",
            }
    return pd.DataFrame(rows).T


def _at(cells: Sequence[CellResult], method: str, baseline: str, choice: int) -> Interval:
    before, after = ([cell.choices(name)[choice].steps for cell in cells] for name in (baseline, method))
    return restricted_speedup(before, after)


def capped(contest: Contest) -> pd.DataFrame:
    """The cells in which so many runs of SGD fail that the cap decides, and what all others say without them."""
    sgd, meta = contest.named("sgd", "meta")
    share = {name: failing([result], sgd) for name, result in contest.results.items()}
    rows = {
        name: {
            "SGD fails": f"{share[name]:.0%}",
            "it fails": f"{failing([result], meta):.0%}",
            "speed-up": str(result.speedup(meta, sgd)),
        }
        for name, result in contest.results.items()
        if share[name] >= CAPPED
    }
    for told, kept in zip(TOGETHER.values(), (2.0, CAPPED), strict=True):
        if cells := [each for name, each in contest.inside("geometric").items() if share[name] < kept]:
            rows[told] = {
                "SGD fails": f"{failing(cells, sgd):.0%}",
                "it fails": f"{failing(cells, meta):.0%}",
                "speed-up": str(over(cells, meta, sgd)),
            }
    return pd.DataFrame(rows).T


def said_and_so(contest: Contest, registered: Contest) -> pd.DataFrame:
    """Claims over SGD and over Adam tuned on A: by the registered tuning, and by all that tuning may give."""
    places = {group: list(contest.inside(group)) for group in PLACES} | {
        name: [name] for name in contest.results
    }
    rows = {}
    for place, names in places.items():
        if not names:
            continue
        so, said = ([each.results[name] for name in names] for each in (contest, registered))
        sgd, adam, meta, meta_adam = contest.named("sgd", "adam", "meta", "meta-adam")
        rows[place] = {
            "over SGD, as said": str(over(said, meta, sgd)),
            "over SGD, so": str(over(so, meta, sgd)),
            "SGD fails, as said": f"{failing(said, sgd):.0%}",
            "SGD fails, so": f"{failing(so, sgd):.0%}",
            "on Adam over Adam, as said": str(over(said, meta_adam, adam)),
            "on Adam over Adam, so": str(over(so, meta_adam, adam)),
        }
    return pd.DataFrame(rows).T


def said_numbers(table: pd.DataFrame) -> dict[str, str]:
    """What the errata quote of `said_and_so`."""

    def quoted(place: str, column: str) -> str:
        return table.loc[place, column] if place in table.index else "–"

    return {
        f"{key}_{name}": quoted(place, f"{column}, {told}")
        for place in ("geometric", "real", "digits")
        for name, column in ((place, "over SGD"), (f"adam_{place}", "on Adam over Adam"))
        for key, told in (("said", "as said"), ("so", "so"))
    }


def capped_numbers(table: pd.DataFrame) -> dict[str, str | int]:
    """What the book quotes of `capped`."""
    together = {
        f"uncapped_{key}": table.loc[told, "speed-up"] if told in table.index else "–"
        for key, told in TOGETHER.items()
    }
    return together | {"num_capped": sum(name not in TOGETHER.values() for name in table.index)}


def reference_ties(cells: Mapping[str, Cell], seeds: Seeds) -> pd.DataFrame:
    """How the threshold would move if the reference lacked the rate that is best on each instance.

    In parts of the learnable loss, of which the threshold leaves a tenth.
    """
    rows = {}
    for name, cell in cells.items():
        instances = cell.draw(seeds, 4 * cell.horizon)
        losses = np.stack([_best(cell, instances, lr) for lr in REFERENCE_RATES])
        frequency = instances.test.target.mean(1)
        prior = -torch.special.xlogy(frequency, frequency).sum(1).numpy()
        first, second = np.sort(losses, axis=0)[:2]
        moved = (1 - cell.delta) * (second - first) / (prior - first)
        wins = np.bincount(losses.argmin(0), minlength=len(losses)) / len(seeds)
        rows[name] = {
            "best rate of the reference": ", ".join(
                f"{lr:g} ({share:.0%})" for lr, share in zip(REFERENCE_RATES, wins, strict=True) if share
            ),
            "target loss moves by": f"{np.median(moved):.3f}",
            "at most": f"{moved.max():.3f}",
        }
    return pd.DataFrame(rows).T


def _best(cell: Cell, instances: object, lr: float) -> NDArray:
    loop = InnerLoop(cell.learner, Constant(lr), Adam())
    return held_out_curve(loop, instances, REFERENCE_CADENCE).nan_to_num(nan=torch.inf).amin(1).numpy()  # type: ignore[arg-type]


def severities(registration: Registration) -> pd.DataFrame:
    """Where the severity of each geometric cell lies among those that the mixture draws, on which rivals are tuned and
    rules of many families trained: from 0, the least, to 1, the greatest; a dash where it never draws it.
    """
    grid = np.linspace(0, 1, 1001)
    rows = {}
    for name in registration.in_groups("geometric"):
        family = registration.cells[name].family
        assert isinstance(family, Shift)
        kind, own = type(family), family.severity
        drawn = np.array([kind.severity_at(float(u)) for u in grid])
        inside = drawn.min() <= own <= drawn.max()
        rows[name] = {
            "drawn by the mixture": "yes" if kind.name in MIXTURE else "no",
            "severities that it draws": f"{drawn.min():.3g} to {drawn.max():.3g}",
            "this one": f"{own:g}",
            "part of draws below": f"{(drawn < own).mean():.2f}" if inside else "–",
        }
    return pd.DataFrame(rows).T


def kept() -> list[Study]:
    """The study of the kept table."""
    return [fresh(read_registration().amend().held())]
