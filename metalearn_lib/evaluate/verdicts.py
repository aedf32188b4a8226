"""The verdicts on what was registered, computed from it and from the contest's table, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metalearn_lib.evaluate.contest import CellResult
from metalearn_lib.evaluate.registration import Hypothesis, Registration
from metalearn_lib.statistics import (
    EQUIVALENCE,
    Interval,
    equivalent_p,
    faster_p,
    headroom_interval,
    holm,
    pool_speedups,
    restricted_speedup,
)
from metalearn_lib.statistics.tunings import Runs

LEVEL = 0.025


def judge(
    registration: Registration, results: Mapping[str, CellResult], labels: Mapping[str, str]
) -> pd.DataFrame:
    """The verdict on every hypothesis, from the data alone.

    As registered, a hypothesis is on the mean log speed-up over the cells of its groups, pooled with random effects;
    where there are fewer than three cells, on that of the cells themselves. Beside it stands the sharper answer for
    these cells and no others: cells fixed, meta-seeds and instances drawn anew, each jointly over all cells. Against
    several baselines the weakest comparison counts (an intersection-union test, which needs no correction). p-values
    are one-sided, and Holm's over all hypotheses.

    Args:
        labels: what `results` call each registered method.

    Returns:
        A row for each hypothesis: claim, prior, the weakest baseline, speed-up with its 95 % interval, head-room
        captured, p-value, Holm's, and the verdict: supported, refuted (the opposite is significant by itself) or
        undecided; then speed-up and verdict for these cells alone.
    """
    tests = [_test(each, registration, results, labels) for each in registration.hypotheses]
    pooled, fixed = (_verdicts([test[kind] for test in tests]) for kind in ("pooled", "fixed"))
    rows = {
        each.name: {
            "claim": each.claim,
            "prior": each.prior,
            "against": test["pooled"].baseline,
            "speed-up": str(test["pooled"].speedup),
            "captured": "–" if test["captured"] is None else str(test["captured"]),
            "p": test["pooled"].p,
        }
        for each, test in zip(registration.hypotheses, tests, strict=True)
    }
    table = pd.DataFrame(rows).T.rename_axis("hypothesis").astype({"p": float})
    table["p (Holm)"], table["verdict"] = pooled
    table["these cells alone"] = [str(test["fixed"].speedup) for test in tests]
    table["verdict on these"] = fixed[1]
    return table


class _Comparison(NamedTuple):
    """One method against one baseline, as a hypothesis asks."""

    baseline: str
    speedup: Interval
    p: float
    refuted: bool


def _verdicts(comparisons: Sequence[_Comparison]) -> tuple[NDArray, list[str]]:
    """Holm's p-values, and the verdicts from them."""
    adjusted = holm(np.array([each.p for each in comparisons]))
    return adjusted, [
        "supported" if p <= LEVEL else "refuted" if each.refuted else "undecided"
        for p, each in zip(adjusted, comparisons, strict=True)
    ]


_MARGINS = {"better": EQUIVALENCE, "no worse": 1 / EQUIVALENCE}


def _test(
    hypothesis: Hypothesis,
    registration: Registration,
    results: Mapping[str, CellResult],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """The weakest comparison with cells pooled and with cells fixed, and the head-room captured if that is asked."""
    cells = [results[name] for name in registration.in_groups(*hypothesis.groups)]

    def times(name: str) -> list[Runs]:
        return [cell.times(labels[name]) for cell in cells]

    captured: Interval | None = None
    if hypothesis.captures is not None:
        captured = headroom_interval(times(hypothesis.baselines[0]), times(hypothesis.method), times("sgd@B"))

    def compare(kind: Literal["pooled", "fixed"], name: str) -> _Comparison:
        baseline, method = times(name), times(hypothesis.method)
        margin = hypothesis.margin or _MARGINS.get(hypothesis.asks)
        if kind == "pooled" and len(cells) >= 3:
            pooled = pool_speedups(baseline, method)
            speedup = Interval(*map(float, np.exp(pooled.mean)))
            zone = np.log(EQUIVALENCE)
            outside = max(pooled.p_above(-zone), 1 - pooled.p_above(zone))
            p = outside if margin is None else pooled.p_above(np.log(margin))
        else:
            speedup = restricted_speedup(baseline, method)
            p = equivalent_p(baseline, method) if margin is None else faster_p(baseline, method, margin)
        if margin is None:
            refuted = speedup.low > EQUIVALENCE or speedup.high < 1 / EQUIVALENCE
        else:
            refuted = speedup.high < margin
        if captured is not None and hypothesis.captures is not None:
            p = p if captured.low > hypothesis.captures else max(p, 1.0)
            refuted = refuted or captured.high < hypothesis.captures
        return _Comparison(labels[name], speedup, p, refuted)

    def weakest(kind: Literal["pooled", "fixed"]) -> _Comparison:
        return max((compare(kind, name) for name in hypothesis.baselines), key=lambda each: each.p)

    return {"pooled": weakest("pooled"), "fixed": weakest("fixed"), "captured": captured}
