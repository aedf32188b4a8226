"""What it costs to use many workers, with workers that sleep; and what one unit of the work itself costs.

    python benchmarks/cluster.py --out results/costs.parquet

The page on what larger runs would cost reads the table. Only sleeping workers can be measured where there are fewer
cores than workers. Leave the machine alone meanwhile: some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from distributed import Client

import metalearn_lib.cluster
from metalearn_lib.cluster import Cluster
from metalearn_lib.evaluate.jobs import Question
from metalearn_lib.evaluate.registration import read_registration
from metalearn_lib.evaluate.store import Store
from metalearn_lib.files import write_parquet
from metalearn_lib.meta_train import MetaTrainConfig, meta_train
from metalearn_lib.meta_train.workers import Group, worker_group
from metalearn_lib.pools import open_pool
from metalearn_lib.progress import progress_bar
from metalearn_lib.studies.planning import COLUMNS
from metalearn_lib.studies.tables import find_tables

WORKERS = (2, 8, 32)
CALLS = 20
"""For each worker."""
NAP = 0.2
"""Seconds that a call sleeps."""

Row = tuple[str, int, float, int]


@contextmanager
def farm(workers: int) -> Iterator[Cluster]:
    """A scheduler, and so many workers, each of which has been found to be like this machine."""
    with tempfile.TemporaryDirectory(prefix="farm-") as folder:
        facts = Path(folder) / "scheduler.json"
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        dask = [sys.executable, "-m", "dask"]
        flags = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(facts), "--no-dashboard"]
        started = [subprocess.Popen([*dask, "scheduler", *flags], **quiet)]
        try:
            while not (facts.exists() and facts.read_text().endswith("}")):
                time.sleep(0.05)
            address = json.loads(facts.read_text())["address"]
            for number in range(workers):
                there = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", f"w{number}"]
                started.append(subprocess.Popen([*dask, "worker", address, *there], **quiet))
            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(workers)
            with open_pool(cluster=Cluster(address), progress=False) as results:
                list(results(naps(4 * workers)))  # a first call takes long, and goes to each of them
            yield Cluster(address)
        finally:
            for process in started:
                process.kill()
                process.wait()


def naps(number: int) -> dict[int, partial[None]]:
    return {each: partial(time.sleep, NAP) for each in range(number)}


def _nap() -> int:
    time.sleep(NAP)
    return os.getpid()


def of_calls(workers: int) -> Iterator[Row]:
    """Worker time that is lost to a call beside what it takes, and what one call takes of client and scheduler."""
    number = workers * CALLS
    with farm(workers) as cluster, open_pool(cluster=cluster, progress=False) as results:
        for in_flight in (1, 2, 4):
            metalearn_lib.cluster.IN_FLIGHT = in_flight
            began = time.monotonic()
            assert len(list(results(naps(number)))) == number
            lost = (time.monotonic() - began) * workers / number - NAP
            yield ("call" if in_flight == 2 else f"call, {in_flight} in flight"), workers, lost, number
        metalearn_lib.cluster.IN_FLIGHT = 2
        began = time.monotonic()
        assert len(list(results({each: partial(abs, each) for each in range(400)}))) == 400
        yield "call of nothing", workers, (time.monotonic() - began) / 400, 400
    with open_pool(workers) as results:
        seen = set[int]()
        while len(seen) < workers:  # each has started
            seen |= {pid for _, pid in results({each: partial(_nap) for each in range(workers)})}
        began = time.monotonic()
        list(results(naps(number)))
        yield "call, processes", workers, (time.monotonic() - began) * workers / number - NAP, number


def of_gathering(workers: int) -> Iterator[Row]:
    """What it takes workers of one meta-training to add up their estimates, beside what they wait for."""
    steps, size = 40, read_config().init_theta().numel() + 5
    with worker_group(workers, _gather, (steps, size)) as group:
        yield "gather", workers, _gather(group, steps, size) - 0.05, steps


def _gather(group: Group, steps: int, size: int) -> float:
    row = torch.zeros(2, size, dtype=torch.float64)
    group.gather(row)
    began = time.monotonic()
    for _ in range(steps):
        time.sleep(0.05)
        group.gather(row)
    return (time.monotonic() - began) / steps


def read_config() -> MetaTrainConfig:
    """The registered meta-training of the rule on SGD."""
    return MetaTrainConfig(**read_registration().training["sgd"])


def of_work(samples: int, seed: int) -> Iterator[Row]:
    """Processor time of the contest's questions, drawn at random of each kind, and of an inner step."""
    ((study, _),) = find_tables(["contest"])
    drawn = np.random.default_rng(seed)
    asked = study.jobs
    kinds: dict[str, dict[str, Question]] = {}
    left = [job.rows for job in asked]
    while left:
        for question in left:
            kinds.setdefault(question.kind, {})[question.key] = question
        left = [first for question in left for first in question.first]
    for kind, questions in kinds.items():
        picked = drawn.choice(sorted(questions), min(samples, len(questions)), replace=False)
        for key in progress_bar(len(picked), kind, "question", True, picked):
            seconds = _seconds(questions[key], study.store())
            yield kind, 1, seconds, len(questions)
    config = replace(read_config(), outer_steps=20)
    meta_train(replace(config, outer_steps=1), progress=False)
    began = time.process_time()
    cost = meta_train(config, progress=False).card["gradient_evaluations"]
    yield "inner step", 1, (time.process_time() - began) / cost, cost // config.outer_steps


def _seconds(question: Question, kept: Store) -> float:
    """What a question takes, once what comes before it is known."""
    from metalearn_lib.sources import Sources

    sources = Sources()

    def told(each: Question) -> dict:
        facts = kept.facts(each.key, each.digest(sources))
        if facts is None:
            facts = each.call(*map(told, each.first))
            kept.keep_facts(each.key, each.digest(sources), facts)
        return facts

    before = [told(each) for each in question.first]
    began = time.process_time()
    question.call(*before)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        "cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="where the table goes")
    parser.add_argument(
        "--samples", type=int, default=12, metavar="N", help="questions of each kind (default: 12)"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")
    arguments = parser.parse_args()
    rows: list[Row] = []
    for workers in arguments.workers:
        for found in (*of_calls(workers), *of_gathering(workers)):
            rows.append(found)
            print("{}, {} workers: {:.2g} s".format(*found), flush=True)
    rows += of_work(arguments.samples, arguments.seed)
    fields = [pa.field(name, kind, metadata={"unit": told}) for name, (kind, told) in COLUMNS.items()]
    columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
    write_parquet(arguments.out, pa.table(columns, pa.schema(fields)))


if __name__ == "__main__":
    main()
