"""One entrant on one problem, over paired seeds: what is asked, and the rows that answer it."""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from entrants import BASES, FREE, geometric_mean, grid, made
from problems import PROBLEMS, Problem, text_hash
from validation import VALIDATION

from metalearn_lib import LearnedLR
from metalearn_lib.cards import load_theta
from metalearn_lib.cores import one_thread
from metalearn_lib.files import read_parquet, write_parquet

SCORED, TUNED = range(5), range(100, 102)
"""Seeds of what is scored, and of what rates are tuned by."""
SHORT = 200
FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""On the tuned rate."""
BY_RULE = ("learned", "unguarded", "replayed")

COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "problem": (pa.string(), "name of the problem"),
    "entrant": (pa.string(), "who trains it; 'tune' where a rate is tried"),
    "base": (pa.string(), "the optimizer whose rate is set, or nothing"),
    "factor": (pa.float64(), "on the tuned rate; 0 is the library's default rate, -1 a rate that is tried"),
    "steps": (pa.int32(), "steps of the run"),
    "seed": (pa.int32(), "of initial weights and minibatches"),
    "rule": (pa.string(), "learned rule and digest of its numbers, or nothing"),
    "lr": (pa.float64(), "the rate that is set"),
    "looks": (pa.list_(pa.int32()), "steps after which the held-out loss was looked at"),
    "held_out": (
        pa.list_(pa.float32()),
        "the loss there: on points to tune by for 'tune', else on points to score by",
    ),
    "train": (pa.float32(), "mean minibatch loss of the last tenth"),
    "diverged": (pa.bool_(), "whether the last held-out loss is no number, or above the untrained model's"),
    "milliseconds": (pa.float32(), "processor time of a step"),
    "guarded": (pa.string(), "how often the guard did what, JSON"),
    "factors": (pa.list_(pa.float32()), "what the rule multiplied the rate by, at the tuned rate"),
    "made": (pa.string(), "PyTorch, and the hash of the text"),
}


class Job(NamedTuple):
    """One entrant on one problem at one rate for one number of steps."""

    problem: str
    entrant: str
    base: str
    factor: float
    steps: int
    rule: str = ""


class Kept:
    """A table of rows that only grows; every write is whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, read_parquet(path).to_pylist() if path.exists() else []
        self.done = {Job(*(row[name] for name in Job._fields)) for row in self.rows}

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Keep rows, as they will be read again: in the table's precision."""
        fields = [pa.field(name, kind, metadata={"unit": told}) for name, (kind, told) in COLUMNS.items()]
        schema = pa.schema(fields)
        self.rows += pa.Table.from_pylist(rows, schema).to_pylist()
        self.done |= {Job(*(row[name] for name in Job._fields)) for row in rows}
        write_parquet(self.path, pa.Table.from_pylist(self.rows, schema))

    def before(self, job: Job) -> tuple[float, dict[int, list[float]]]:
        """What a job needs to know: the tuned rate for its steps, and factors by seed where it replays them."""
        tuned = 0.0 if job.entrant == "tune" or not job.base else self.tuned(job.problem, job.base, job.steps)
        return tuned, self.factors(job) if job.entrant == "replayed" else {}

    def tuned(self, problem: str, base: str, steps: int) -> float:
        """The rate that was best after so many steps, of those that were tried."""
        cost: dict[float, list[float]] = {}
        for row in self.rows:
            if (row["problem"], row["entrant"], row["base"]) == (problem, "tune", base):
                loss = row["held_out"][row["looks"].index(steps)]
                bound = row["held_out"][0]
                cost.setdefault(row["lr"], []).append(min(loss, bound) if math.isfinite(loss) else bound)
        return min(cost, key=lambda lr: float(np.mean(cost[lr])))

    def factors(self, job: Job) -> dict[int, list[float]]:
        """By seed, what the rule multiplied the rate by where it watched."""
        watched = job._replace(entrant="learned")
        return {
            row["seed"]: row["factors"]
            for row in self.rows
            if Job(*(row[name] for name in Job._fields)) == watched
        }


def jobs(names: Sequence[str], rule: str | None) -> list[list[Job]]:
    """All that is asked, in rounds: rates are tuned, then come those whom claims are about, then their controls, and at
    last what is only shown.
    """
    tuned: list[Job] = []
    claimed: list[Job] = []
    controls: list[Job] = []
    shown: list[Job] = []
    for name in names:
        long = PROBLEMS[name].steps
        claimed += [Job(name, free, "", 1.0, long) for free in FREE]
        shown += [Job(name, free, "", 1.0, SHORT) for free in FREE]
        for base in BASES:
            told = rule_told(base, rule)
            tuned.append(Job(name, "tune", base, -1.0, long))
            claimed += [Job(name, "constant", base, factor, long) for factor in FACTORS]
            claimed += [Job(name, "learned", base, factor, long, told) for factor in FACTORS]
            claimed += [Job(name, "cosine", base, factor, long) for factor in (0.0, 1.0)]
            controls.append(Job(name, "replayed", base, 1.0, long, told))
            shown += [Job(name, "constant", base, 1.0, SHORT), Job(name, "plateau", base, 1.0, long)]
            shown += [Job(name, "cosine", base, factor, SHORT) for factor in (0.0, 1.0)]
            shown += [Job(name, "learned", base, factor, SHORT, told) for factor in FACTORS]
            controls += [Job(name, "unguarded", base, factor, long, told) for factor in (0.01, 1.0, 100.0)]
    return [tuned, claimed, controls, shown]


def rule_told(base: str, rule: str | None) -> str:
    """A rule's name and the digest of its numbers."""
    optimizer = BASES[base][0](iter([torch.nn.Parameter(torch.zeros(1))]), 1.0)
    name = LearnedLR(optimizer, rule).rule
    return f"{Path(name).stem} {hashlib.sha256(load_theta(name)[0].numpy().tobytes()).hexdigest()[:8]}"


def looks(num_steps: int) -> list[int]:
    """Before the first step, and after steps that lie evenly in log time."""
    even = {round(num_steps * 10 ** (-sixth / 6)) for sixth in range(20)}
    return [0, *sorted({each for each in even if each >= 2} | {min(SHORT, num_steps), num_steps})]


def answer(job: Job, lr: float, rule: str | None, replayed: dict[int, list[float]]) -> list[dict[str, Any]]:
    """The rows of a job.

    Args:
        lr: the tuned rate for the job's steps.
        replayed: by seed, factors; a seed replays the mean of the others'.
    """
    rows = []
    tunes = job.entrant == "tune"
    for seed in TUNED if tunes else SCORED:
        for rate in grid(job.base) if tunes else [set_rate(job, lr)]:
            others = [told for other, told in replayed.items() if other != seed]
            mean = geometric_mean(others) if others else []
            rows.append({**job._asdict(), "seed": seed, "lr": rate, **run(job, seed, rate, rule, mean)})
    return rows


def set_rate(job: Job, tuned: float) -> float:
    """The rate that a job sets; nan where its entrant finds one."""
    if not job.base:
        return math.nan
    return tuned * job.factor if job.factor else BASES[job.base][2]


@one_thread()
def run(job: Job, seed: int, lr: float, rule: str | None, replayed: Sequence[float]) -> dict[str, Any]:
    """Train once. Weights and minibatches depend on the seed alone."""
    problem = (PROBLEMS | VALIDATION)[job.problem]
    split = problem.data()
    torch.manual_seed(seed)
    model = problem.model()
    entrant = "constant" if job.entrant == "tune" else job.entrant
    trainer = made(entrant, job.base, lr, job.steps, model.parameters(), rule, replayed)
    generator = torch.Generator().manual_seed(seed)
    judge = split.part(1 if job.entrant == "tune" else 2)
    told, at, losses, spent = [], looks(job.steps), [], 0.0
    order = torch.empty(0, dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for step in range(job.steps + 1):
            if step in at:
                told.append(held_out(problem, model, trainer, split.x[judge], split.y[judge]))
            if step == job.steps:
                break
            if len(order) < problem.batch_size:
                order = torch.cat([order, torch.randperm(split.sizes[0], generator=generator)])
            rows, order = order[: problem.batch_size], order[problem.batch_size :]
            began = time.process_time()
            loss = problem.loss(model(split.x[rows]), split.y[rows])
            trainer.step(loss)
            spent += time.process_time() - began
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]) and trainer.learned is None:
                break  # nothing that is left would bring it back
    told += [math.nan] * (len(at) - len(told))
    keeps = job.entrant == "learned" and job.factor == 1
    return {
        "looks": at,
        "held_out": told,
        "train": float(np.mean(losses[-max(1, len(losses) // 10) :])),
        "diverged": not told[-1] <= told[0],
        "milliseconds": 1e3 * spent / len(losses),
        "guarded": json.dumps(trainer.learned.num_guarded if trainer.learned else {}, sort_keys=True),
        "factors": trainer.factors if keeps else [],
        "made": f"torch {torch.__version__}"
        + (f", text {text_hash()}" if job.problem == "transformer" else ""),
    }


@torch.no_grad()
def held_out(
    problem: Problem, model: torch.nn.Module, trainer: Any, x: torch.Tensor, y: torch.Tensor
) -> float:
    model.eval()
    trainer.judged(True)
    loss = float(problem.loss(model(x), y))
    trainer.judged(False)
    model.train()
    return loss
