"""Audit: rows of a kept table drawn at random, computed anew and compared, so that a refactoring can be adopted.

Of a change that alters a fraction `f` of a table's rows, `n` rows drawn at random show nothing with probability
`(1 - f)^n`. So if `n` rows are as they were, at most `1 - 0.05^(1/n)` of them have changed, with 95 % confidence: 14 %
after 20 rows, 3 % after 100 (`unseen`). That is the exact binomial bound, and all that an audit proves.

**Rounding is told apart from a changed answer** by what rounding does to that very row. Training is chaotic near
divergence: there the last bit of a gradient decides when, or whether, a run crosses. So where a row is not what it was,
it is trained 64 times over, with every entry of every gradient eight units in the last place off, up or down: what
sums of a hundred terms differ by where they are added in another order. If the
kept numbers lie within what these runs span, or beyond it by no more than their span, the difference is rounding, as
another processor makes it; if they do not, the answer has changed. `benchmarks/audit.py` shows how often the rule is
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Generator, Tensor

from metalearn_lib.evaluate.cells import Cell
from metalearn_lib.evaluate.jobs import Job, Question, definitions_of
from metalearn_lib.evaluate.methods import Tune
from metalearn_lib.evaluate.store import Table
from metalearn_lib.evaluate.threshold import Target, set_target, steps_to_threshold
from metalearn_lib.inner_loop import Instances
from metalearn_lib.learners import Batch, Learner
from metalearn_lib.pools import Results, in_this_process
from metalearn_lib.progress import progress_bar
from metalearn_lib.sources import Sources
from metalearn_lib.types import Seeds

COPIES = 64
_UNITS = 8
LOSS_TOLERANCE = 1e-5
"""Relative difference below which two losses are one."""

Verdict = Literal["same", "rounding", "changed"]


@dataclass(frozen=True)
class Jittered(Learner):
    """A learner whose gradients have noise in their last place.

    grad + eps max |grad| s,   s = -1 or 1 at random
    """

    exact: Learner
    generator: Generator

    @property
    def mlp(self) -> Learner:
        """The network, whose layers some directions ask for."""
        return getattr(self.exact, "mlp", self.exact)

    @property
    def num_params(self) -> int:  # type: ignore[override]
        return self.exact.num_params

    def init(self, generator: Generator) -> Tensor:
        return self.exact.init(generator)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        return self.exact.logits(params, x)

    def loss(self, params: Tensor, batch: Batch) -> Tensor:
        return self.exact.loss(params, batch)

    def loss_and_grad(self, params: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, grad = self.exact.loss_and_grad(params, batch)
        signs = torch.randint(2, grad.shape, generator=self.generator) * 2 - 1
        return loss, grad * (1 + _UNITS * torch.finfo(grad.dtype).eps * signs)


@dataclass(frozen=True)
class JitteredCell(Cell):
    """A cell of which each instance is trained `copies` times, with other rounding each time."""

    copies: int = 1

    @property
    def learner(self) -> Learner:
        return Jittered(super().learner, torch.Generator().manual_seed(0))

    def draw(self, seeds: Seeds, num_steps: int) -> Instances:
        return super().draw(seeds, num_steps).take(torch.arange(len(seeds)).repeat(self.copies))


def jittered(cell: Cell, copies: int = COPIES) -> JitteredCell:
    """`cell` with copies."""
    return JitteredCell(**{field.name: getattr(cell, field.name) for field in fields(cell)}, copies=copies)


class Finding(NamedTuple):
    """One row, or one preparation, computed anew."""

    verdict: Verdict
    what: str
    told: str
    """how it differs, where it does"""
    of_row: bool
    """false for a preparation"""


def audit_row(job: Job, kept: dict[str, Any], numbers: dict[str, Any]) -> Finding:
    """Compute one instance anew, with the numbers that the job was prepared with.

    Args:
        kept: the row.
        numbers: what was prepared: rates of the row itself, or whatever else the recipe needs.
    """
    seeds = Seeds("score", 1, kept["instance"])
    now = _run(job, job.cell, seeds, kept["cap"], numbers)
    different = [name for name, values in now.items() if not _same(name, kept[name], values[0])]
    meta_seed = "" if job.meta_seed < 0 else f", meta-seed {job.meta_seed}"
    what = f"{job.name!r}{meta_seed} in {job.cell.name!r}, instance {kept['instance']}"
    if not different:
        return Finding("same", what, "", True)
    spans = _run(job, jittered(job.cell), seeds, kept["cap"], numbers)
    outside = [name for name in different if not _within(name, kept[name], spans[name])]
    told = "; ".join(
        f"{name} {kept[name]:g}, now {now[name][0]:g}, within rounding {min(spans[name]):g} to {max(spans[name]):g}"
        for name in outside or different
    )
    return Finding("changed" if outside else "rounding", what, told, True)


def _run(job: Job, cell: Cell, seeds: Seeds, cap: int, numbers: dict[str, Any]) -> dict[str, list[float]]:
    target = set_target(cell, seeds)
    method = job.recipe.method(numbers, cell, seeds)
    outcome = steps_to_threshold(method.loop(cell), cell.draw(seeds, cap), Target(*target[:3], cap=cap))
    values = {name: getattr(outcome, name).astype(float) for name in ("steps", "crossed", "finite")}
    losses = {name: getattr(target, name).numpy() for name in ("threshold", "reference_loss", "prior_loss")}
    return {name: each.tolist() for name, each in (values | losses).items()}


def _same(name: str, kept: float, now: float) -> bool:
    if name in ("steps", "crossed", "finite"):
        return kept == now
    return abs(kept - now) <= LOSS_TOLERANCE * abs(kept)


def _within(name: str, kept: float, values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    slack = {"steps": 1.0, "crossed": 0.0, "finite": 0.0}.get(name, LOSS_TOLERANCE * abs(kept)) + high - low
    return low - slack <= kept <= high + slack


def audit_numbers(question: Question, kept: dict[str, Any], told: Sequence[dict[str, Any]]) -> Finding:
    """Prepare a method anew, as tuning its rate, and compare what a table tells of it.

    Two rates that are level to rounding are told apart by nothing: where another one wins now, both are raced again on
    instances whose weights differ in their last place, and it is rounding if the kept one wins there.

    Args:
        kept: `lr` and `number`, or the cell's `cap`, of the question's rows.
        told: the answers of the questions that come before.
    """
    now = question.call(*told)
    now = now["choices"][0] if question.kind == "numbers" else now
    place = question.call.args[1] if question.kind == "numbers" else question.call.args[0]
    what = f"{question.kind} in {place.name!r}"
    different = [name for name in kept if name in now and not np.isclose(kept[name], now[name], rtol=1e-9)]
    if not different:
        return Finding("same", what, "", False)
    shown = "; ".join(f"{name} {kept[name]:g}, now {now[name]:g}" for name in different)
    recipe, *rest = question.call.args
    if question.kind == "target":
        caps = [set_target(jittered(recipe, 2), rest[0]).cap]
        level = abs(kept["cap"] - now["cap"]) <= abs(caps[0] - now["cap"]) + 0.02 * now["cap"]
    else:
        level = isinstance(recipe, Tune) and _level(recipe, place, rest[1], kept, now)
    return Finding("rounding" if level else "changed", what, shown, False)


def _level(tune: Tune, place: Cell, seeds: Seeds, kept: dict[str, Any], now: dict[str, Any]) -> bool:
    cell = jittered(place, 4)
    target = set_target(cell, seeds)
    instances = cell.draw(seeds, target.cap)

    def costs(numbers: dict[str, Any]) -> np.ndarray:
        loop = tune.rival.make(numbers["lr"], numbers["number"]).loop(cell)
        return np.log(steps_to_threshold(loop, instances, target).steps).reshape(4, -1).mean(1)

    return bool(costs(kept).min() <= costs(now).max())


class Audit(NamedTuple):
    """What an audit of a table found."""

    findings: list[Finding]
    stale: list[Job]
    """whose code, or question, is not what their kept rows were made by"""
    missing: list[Job]
    """of which there are no rows"""
    changed_code: list[str]
    """definitions that are not what they were when the table was last stamped"""
    reached: int
    """rows that these can reach"""

    @property
    def unseen(self) -> float:
        """The greatest fraction of rows that may have changed, at 95 % confidence, if none of those drawn has."""
        return 1 - 0.05 ** (1 / max(1, sum(each.of_row for each in self.findings)))


def audit(
    asked: Sequence[Job],
    kept: Table,
    rows: int,
    preparations: int = 0,
    seed: int = 0,
    results: Results = in_this_process,
    progress: bool = True,
) -> Audit:
    """Draw rows of a table, and preparations of its methods, at random, compute them anew, and compare.

    Where some rows are stale, the draw is among these.

    Args:
        asked: the table's questions.
        rows: how many rows.
        preparations: how many preparations; each costs what tuning costs.
        seed: of the draw.
        results: what computes, as `pool` yields it; one pool serves many tables.

    Raises:
        StoreError: for rows that are not what was written.
    """
    sources = Sources()
    where = {part.names: part for part in kept.parts.values()}
    have = [job for job in asked if _names(job) in where]
    for job in have:
        kept.rows(where[_names(job)].key)
    now = {id(job): (job.rows.key, job.rows.digest(sources)) for job in have}
    stale = [job for job in have if (where[_names(job)].key, where[_names(job)].code) != now[id(job)]]
    codes = {id(job): job.rows.code(sources) for job in have}
    before = kept.definitions
    changed_code = sorted(
        {name for job in stale for name, digest in codes[id(job)].items() if before.get(name) != digest}
    )
    reached = sum(bool(set(changed_code) & set(codes[id(job)])) * len(job.score_seeds) for job in have)

    random = np.random.default_rng(seed)
    among = stale or have
    picked = [among[place] for place in random.integers(len(among), size=rows if among else 0)]
    calls: dict[int, partial[Finding]] = {}
    for number, job in enumerate(picked):
        at = where[_names(job)]
        row = kept.table.slice(at.start + int(random.integers(at.stop - at.start)), 1).to_pylist()[0]
        calls[number] = partial(_audit_row, job, row)
    every = {each.key: (each, job) for job in among for each in job.rows.first}
    for key in random.permutation(sorted(every))[:preparations]:
        question, job = every[key]
        row = kept.table.slice(where[_names(job)].start, 1).to_pylist()[0]
        names = ("cap",) if question.kind == "target" else ("lr", "number")
        calls[len(calls)] = partial(_audit_numbers, question, {name: row[name] for name in names})
    bar = progress_bar(len(calls), "audit", "row", progress)
    findings = []
    for _, finding in results(calls):
        findings.append(finding)
        bar.update()
    bar.close()
    missing = [job for job in asked if _names(job) not in where]
    return Audit(findings, stale, missing, changed_code, reached)


def _audit_row(job: Job, row: dict[str, Any]) -> Finding:
    numbers = {name: row[name] for name in ("lr", "number")}
    prepared = job.numbers
    if prepared is not None and not isinstance(job.recipe.source, Tune):
        numbers = prepared.call(*_before(prepared, numbers))["choices"][0]  # more than a row holds
    return audit_row(job, row, numbers)


def _audit_numbers(question: Question, kept: dict[str, Any]) -> Finding:
    return audit_numbers(question, kept, _before(question, kept))


def _before(question: Question, kept: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers of the questions that come before, of tuned numbers those that are kept."""
    return [
        each.call() if each.kind == "target" else {"choices": [kept], "num_gradients": 0}
        for each in question.first
    ]


def adopt(asked: Sequence[Job], kept: Table) -> pa.Table:
    """The table with the present questions and code stamped on its rows; their numbers are as they were."""
    sources = Sources()
    now = {_names(job): (job.rows.key, job.rows.digest(sources)) for job in asked}
    stamps = {part.key: now[part.names] for part in kept.parts.values() if part.names in now}
    return kept.stamped(stamps, definitions_of(asked, sources))


def _names(job: Job) -> tuple[str, str, int]:
    return job.cell.name, job.name, job.meta_seed
