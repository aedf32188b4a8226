"""How often an audit is right: rows whose rounding changed, and rows whose code did, each held against the kept ones.

    python benchmarks/audit.py [--rows 200]

The gradient in PyTorch in the place of the C++ function is another rounding of the same answers, as another processor
has it: what is called changed there is a false alarm. The edits below are other answers, from gross to slight: what is
called rounding there is missed. Half of the rows are drawn among those that a diverging or chaotic run makes likely,
at rates far above the tuned one.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest import mock

import numpy as np
from torch import Tensor

from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import cells, threshold
from metalearn_lib.evaluate.audit import _audit_row
from metalearn_lib.evaluate.jobs import Job
from metalearn_lib.evaluate.store import Table
from metalearn_lib.inner_loop import InnerLoop
from metalearn_lib.monitor import Monitor
from metalearn_lib.rates.constant import Constant
from metalearn_lib.studies.tables import find_tables

_EDGE = ("base rate x 100", "Polyak step", "-0.5", "0.5", "anisotropy 64", "scale 8", "translate 8")


@contextmanager
def pytorch() -> Iterator[None]:
    """Another rounding: the gradient as PyTorch has it."""
    with mock.patch.object(cells, "fuse", lambda mlp: mlp):
        yield


@contextmanager
def edited(target: object, name: str, value: object) -> Iterator[None]:
    """Another answer: a constant of the library is another."""
    with mock.patch.object(target, name, value):
        yield


def faster(by: float) -> Callable[..., tuple[Tensor, Tensor]]:
    """A constant rate that is `by` times what it says."""
    return lambda self, state, observation: (state * by, state)


WORLDS = {
    "as kept": partial(edited, threshold, "CAP_FACTOR", threshold.CAP_FACTOR),
    "rounding: gradient in PyTorch": pytorch,
    "edit: constant rates x 1.01": partial(edited, Constant, "__call__", faster(1.01)),
    "edit: constant rates x 1.1": partial(edited, Constant, "__call__", faster(1.1)),
    "edit: monitor's fast decay 0.8 to 0.7": partial(
        edited, InnerLoop.__init__, "__defaults__", (Gradient(), Monitor(0.7))
    ),
    "edit: reference's second decay 0.999 to 0.99": partial(
        edited, Adam.__init__, "__defaults__", (0.9, 0.99, 1e-8)
    ),
}


def draw(rows: int, seed: int) -> list[tuple[Job, dict]]:
    """Rows of all kept tables, half of them where training is chaotic."""
    random = np.random.default_rng(seed)
    found: list[tuple[Job, dict]] = []
    tables = [(study.jobs, Table(path)) for study, path in find_tables(["contest", "others", "ahead"])]
    for number in range(rows):
        jobs, table = tables[number % len(tables)]
        parts = {part.names: part for part in table.parts.values()}
        edge = [job for job in jobs if any(word in f"{job.name} {job.cell.name}" for word in _EDGE)]
        job = (edge if number % 2 else jobs)[int(random.integers(len(edge if number % 2 else jobs)))]
        part = parts[job.cell.name, job.name, job.meta_seed]
        found += [(job, table.table.slice(int(random.integers(part.start, part.stop)), 1).to_pylist()[0])]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=200, metavar="N", help="rows in each world (default: 200)"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="worlds whose name holds it (default: all)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw")
    arguments = parser.parse_args()
    rows = draw(arguments.rows, arguments.seed)
    print(f"{'world':<44} {'same':>6} {'rounding':>9} {'changed':>8}")
    for name, world in WORLDS.items():
        if arguments.only not in name:
            continue
        with world():
            counts = Counter(_audit_row(job, row).verdict for job, row in rows)
        print(f"{name:<44} {counts['same']:>6} {counts['rounding']:>9} {counts['changed']:>8}", flush=True)


if __name__ == "__main__":
    main()
