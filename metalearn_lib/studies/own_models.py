"""Can it be used on a model of one's own? What the benchmark on real models found, and what was promised."""

from __future__ import annotations

import json
import math
import tomllib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from metalearn_lib.evaluate.store import results_folder
from metalearn_lib.files import read_parquet
from metalearn_lib.statistics import Interval

REGISTRATION: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
"""What `LearnedLR` is held to, written before it was run."""
FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""On the tuned rate."""
BASES = ("SGD", "momentum", "AdamW")
FREE = ("Prodigy", "DoG", "D-Adaptation", "Schedule-Free", "MoMo")
"""Optimizers that need no rate."""
_RESAMPLES = 2000


def read(path: Path | None = None) -> pd.DataFrame:
    """The kept rows, one for each run that scores, with its last loss: that of the untrained model where it is worse
    than that or no number.

    Args:
        path: the table; by default the kept one.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when it is not what was written.
    """
    path = path or (results_folder() or Path("results")) / "own_models.parquet"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there; `python benchmarks/own_models` makes it, in some hours."
        )
    rows = read_parquet(path).to_pandas()
    rows = _where(rows, rows.entrant != "tune").reset_index(drop=True)
    first, last = (rows.held_out.map(lambda curve, at=at: float(curve[at])) for at in (0, -1))
    rows["loss"] = last.where(last < first, first)
    rows["long"] = rows.steps == rows.groupby("problem").steps.transform("max")
    return rows


def claimed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the problems that claims are about."""
    return _where(rows, ~rows.problem.isin(REGISTRATION["control"]))


def _where(rows: pd.DataFrame, chosen: Any) -> pd.DataFrame:
    return pd.DataFrame(rows[chosen])


def pick(
    rows: pd.DataFrame, entrant: str, base: str = "", factor: float = 1.0, long: bool = True
) -> pd.DataFrame:
    """The runs of an entrant at a rate, for many steps or for few."""
    chosen = (rows.entrant == entrant) & (rows.base == base) & (rows.factor == factor) & (rows.long == long)
    return _where(rows, chosen)


def log_ratios(rows: pd.DataFrame, others: pd.DataFrame) -> dict[str, np.ndarray]:
    """By problem, the log of losses over those of `others`, seed by seed."""
    both = rows.merge(others, on=["problem", "seed"], suffixes=("", "_other"))
    logs = np.log(both.loss / both.loss_other)
    return {name: logs[both.problem == name].to_numpy() for name in rows.problem.unique()}


def interval(logs: np.ndarray) -> Interval:
    """The geometric mean of ratios, with a bootstrap over seeds."""
    drawn = np.random.default_rng(0).integers(len(logs), size=(_RESAMPLES, len(logs)))
    low, high = np.quantile(logs[drawn].mean(1), [0.025, 0.975])
    return Interval(*(float(np.exp(each)) for each in (logs.mean(), low, high)))


def against_tuned(
    rows: pd.DataFrame, entrant: str, base: str, factor: float = 1.0, long: bool = True
) -> dict[str, Interval]:
    """By problem, the held-out loss of an entrant over that of its optimizer at the tuned rate: 1 is no harm."""
    logs = log_ratios(pick(rows, entrant, base, factor, long), pick(rows, "constant", base, 1.0, long))
    return {name: interval(each) for name, each in logs.items()}


def no_harm(rows: pd.DataFrame, long: bool = True) -> pd.DataFrame:
    """Problem by problem, `LearnedLR` at the tuned rate over the tuned rate."""
    found = {base: against_tuned(rows, "learned", base, long=long) for base in BASES}
    return pd.DataFrame(found)


def rescue(rows: pd.DataFrame, base: str, entrant: str = "learned") -> pd.DataFrame:
    """Problem by problem and factor by factor, the held-out loss over that of the tuned rate."""
    found = {factor: against_tuned(rows, entrant, base, factor) for factor in FACTORS}
    return pd.DataFrame(found).map(lambda each: each.value)


def kept_promises(rows: pd.DataFrame) -> pd.DataFrame:
    """What was registered, optimizer by optimizer: how it came out, and whether it holds."""
    harm, wrong, rows = REGISTRATION["no_harm"], REGISTRATION["rescue"], claimed(rows)
    table: list[dict[str, Any]] = []

    def promise(base: str, what: str, found: float, bound: float, least: bool = False) -> None:
        kept = found >= bound if least else found <= bound
        table.append({"optimizer": base, "promise": what, "found": found, "bound": bound, "kept": kept})

    for base in BASES:
        ratios = rescue(rows, base)
        good = int((ratios[1.0] <= harm["worse"]).sum())
        what = f"problems no worse than {harm['worse'] - 1:.0%} at the tuned rate"
        promise(base, what, good, harm["at_least"], least=True)
        promise(base, "worst ratio at the tuned rate", float(ratios[1.0].max()), harm["worst"])
        for times, ways in ((10, [0.1, 10.0]), (100, [0.01, 100.0])):
            good = int((ratios[ways] <= wrong["worse"]).all(axis=1).sum())
            what = f"problems within {wrong['worse'] - 1:.0%} from a rate wrong by {times} either way"
            promise(base, what, good, wrong[f"at_least_by_{times}"], least=True)
        own = _where(rows, (rows.entrant == "learned") & (rows.base == base))
        promise(
            base,
            "runs that diverge, or overfit to above the untrained loss",
            int(own.diverged.sum()),
            wrong["diverged"],
        )
    return pd.DataFrame(table)


def steps_to(curve: Sequence[float], looks: Sequence[int], target: float) -> float:
    """The step at which a loss first reaches a target, on lines in the logarithms between looks; infinite if never."""
    for (before, start), (loss, stop) in pairwise(zip(curve, looks, strict=True)):
        if loss <= target:
            if not start or before <= target:
                return float(start or stop)
            share = math.log(before / target) / math.log(before / loss)
            return start * (stop / start) ** share
    return math.inf


def meeting(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Who meets in the profile, by label: each over its long runs."""
    met = {f"{base}, tuned": pick(rows, "constant", base) for base in BASES}
    met |= {f"LearnedLR on {base}": pick(rows, "learned", base) for base in BASES}
    met |= {"AdamW, tuned, cosine": pick(rows, "cosine", "AdamW")}
    met |= {"default with cosine": pick(rows, "cosine", "AdamW", 0.0)}
    return met | {name: pick(rows, name) for name in FREE}


def times(rows: pd.DataFrame) -> pd.DataFrame:
    """Steps until the held-out loss is that at which tuned AdamW ends, to 5 %, `(problems, entrants)`: geometric means
    over seeds, a run that never reaches it at twice its steps.
    """
    ends = pick(rows, "constant", "AdamW").groupby("problem").loss.apply(_geometric)
    found: dict[str, dict[str, float]] = {}
    for name, runs in meeting(rows).items():
        for problem, group in runs.groupby("problem"):
            told = zip(group.held_out, group.looks, group.steps, strict=True)
            steps = [
                min(steps_to(curve, looks, 1.05 * ends[problem]), 2 * most) for curve, looks, most in told
            ]
            found.setdefault(name, {})[str(problem)] = _geometric(steps)
    return pd.DataFrame(found)


def _geometric(values: Any) -> float:
    return float(np.exp(np.log(values).mean()))


def profile(table: pd.DataFrame, at: Sequence[float]) -> pd.DataFrame:
    """The share of problems on which an entrant takes at most so many times the least of all.

    References: Dolan and More (2002) [dolan2002benchmarking].
    """
    ratios = table.div(table.min(axis=1), axis=0)
    return pd.DataFrame({bound: (ratios <= bound).mean() for bound in at}).T


def ranked(table: pd.DataFrame) -> pd.Series:
    """The area under each entrant's profile from 1 to 10 in log time, from 0 to 1; greater is better."""
    at = np.logspace(0, 1, 200)
    return pd.Series(profile(table, at.tolist()).mean()).sort_values(ascending=False)


def standing(ranks: pd.Series) -> dict[str, str]:
    """Who is first, who is first of those that need no rate, and who of these, and of the default with cosine, is ahead
    of `LearnedLR` on AdamW and who is not.
    """
    free = [name for name in ranks.index if name in (*FREE, "default with cosine")]
    ours = ranks["LearnedLR on AdamW"]
    behind = [name for name in free if ranks[name] < ours]
    ahead = [name for name in free if name not in behind]
    best = next(name for name in free if name in FREE)
    told = {"behind": ", ".join(behind) or "none", "ahead": ", ".join(ahead) or "none"}
    return {"first": str(ranks.index[0]), "best_free": best} | told


def feedback(rows: pd.DataFrame) -> dict[str, Interval]:
    """By optimizer, the loss over that of its own mean schedule replayed, over problems and seeds: below 1, watching
    helps.
    """
    found = {}
    for base in BASES:
        replayed = pick(rows, "replayed", base)
        logs = log_ratios(replayed, pick(rows, "learned", base))
        found[base] = interval(-np.array([each.mean() for each in logs.values()]))
    return found


def unguarded(rows: pd.DataFrame) -> pd.DataFrame:
    """By optimizer and factor: the loss with the guard over that without, its worst, and who diverges."""
    table = []
    for base in BASES:
        for factor in (0.01, 1.0, 100.0):
            on, off = (pick(rows, entrant, base, factor) for entrant in ("learned", "unguarded"))
            on = _where(on, on.problem.isin(off.problem))
            logs = np.array([each.mean() for each in log_ratios(on, off).values()])
            found = {"optimizer": base, "rate": factor, "problems": len(logs)}
            found |= {"loss, with over without": str(interval(logs))}
            found |= {"worst problem": float(np.exp(logs.max()))}
            found |= {"diverge with": int(on.diverged.sum()), "diverge without": int(off.diverged.sum())}
            table.append(found)
    return pd.DataFrame(table)


def acted(rows: pd.DataFrame) -> pd.DataFrame:
    """How often the guard acted, in a thousand steps, by optimizer and by what it did."""
    learned = _where(rows, rows.entrant == "learned")
    table = {}
    for base in BASES:
        own = _where(learned, learned.base == base)
        counts: Counter[str] = Counter()
        for told in own.guarded:
            counts.update(json.loads(told))
        table[base] = {name: 1000 * count / own.steps.sum() for name, count in sorted(counts.items())}
    return pd.DataFrame(table).fillna(0.0)


def costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Processor time of a step with `LearnedLR` over one without, by problem and optimizer: medians over runs."""
    found = {}
    for base in BASES:
        own = _where(rows, (rows.base == base) & rows.long)
        medians = {
            entrant: _where(own, own.entrant == entrant).groupby("problem").milliseconds.median()
            for entrant in ("learned", "constant")
        }
        found[base] = medians["learned"] / medians["constant"]
    return pd.DataFrame(found)


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """The numbers that the page quotes, by name: counts over the problems that claims are about."""
    rows = claimed(rows)
    told: dict[str, Any] = {"num_problems": rows.problem.nunique(), "num_runs": len(rows)}
    told["num_replayed"] = _where(rows, rows.entrant == "replayed").problem.nunique()
    for base in BASES:
        name, ratios, bare = base.lower(), rescue(rows, base), rescue(rows, base, "constant")
        learned = _where(rows, (rows.entrant == "learned") & (rows.base == base))
        told[f"{name}_good"] = int((ratios[1.0] <= REGISTRATION["no_harm"]["worse"]).sum())
        told[f"{name}_usual"], told[f"{name}_worst"] = _geometric(ratios[1.0]), float(ratios[1.0].max())
        told[f"{name}_worst_problem"] = str(ratios[1.0].idxmax())
        told[f"{name}_diverged"], told[f"{name}_runs"] = int(learned.diverged.sum()), len(learned)
        for times, ways in ((10, [0.1, 10.0]), (100, [0.01, 100.0])):
            told[f"{name}_by_{times}"] = int(
                (ratios[ways] <= REGISTRATION["rescue"]["worse"]).all(axis=1).sum()
            )
            told[f"{name}_usual_by_{times}"] = _geometric(ratios[ways].to_numpy())
            told[f"{name}_bare_by_{times}"] = _geometric(bare[ways].to_numpy())
        free = {factor: against_tuned(rows, "unguarded", base, factor) for factor in (0.01, 100.0)}
        told[f"{name}_free_by_100"] = _geometric(
            [each.value for some in free.values() for each in some.values()]
        )
        told[f"{name}_cost"] = float(costs(rows)[base].median())
    return told | {f"{base.lower()}_feedback": str(found) for base, found in feedback(rows).items()}
