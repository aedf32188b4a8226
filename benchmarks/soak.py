"""Kill what computes at random moments, go on, and see that the answer is the same to the last byte.

    python benchmarks/soak.py [--kills 200] [--flips 2000]

Then let the disk be full, let two do the same at once, and change bytes of every kind of file that is read, one at a
time: each is to be refused in words, or read as if nothing had been changed. It prints a table, and ends with 1 where
something did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from metalearn_lib.cards import load_theta
from metalearn_lib.evaluate.preparations import Preparations
from metalearn_lib.evaluate.store import Table
from metalearn_lib.files import read_parquet
from metalearn_lib.meta_train.checkpoint import load_checkpoint
from metalearn_lib.progress import progress_bar
from metalearn_lib.report.runs import Run, is_fresh

Told = Counter[str]

NOTEBOOK = {
    "cells": [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "x = 1", "outputs": []},
        {"cell_type": "code", "metadata": {}, "source": "import time; time.sleep(0.2); x", "outputs": []},
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 4,
}
RUNS = [{"source": "a.ipynb", "output": f"a{number}", "parameters": {"x": number}} for number in range(3)]
EVALUATE = "evaluate --rivals sgd,adam --shift scale --severity 2 --instances 4 --tuning 6 --out a.parquet"
TRAIN = "train --out a.safetensors --runs runs --resume --seeds 2 --outer-steps 30 --num-tasks 8 --tasks-per-chunk 4"
WORK = {
    "train": (f"{TRAIN} --horizon 8 --batch-size 16", "a.safetensors"),
    "evaluate": (EVALUATE, "a.parquet"),
    "notebooks": ("notebooks", "book/experiments/*.ipynb"),
    "sweep": ("sweep notebooks/a.ipynb -p x=1,2,3 --out made", "made/*.[iph]*"),
    "cluster": (f"{EVALUATE} --cluster tcp://127.0.0.1:PORT", "a.parquet"),
}
"""By what is killed: the command, which goes on where it was stopped, and the files that it makes."""
PARTS = ("scheduler", "worker", "client")
"""What of a cluster is killed, in turn."""


def command(name: str, folder: Path, port: int = 0, limit: int | None = None) -> subprocess.Popen[bytes]:
    """The command, begun in a folder of its own, with no more than `limit` bytes to a file."""
    (folder / "notebooks").mkdir(exist_ok=True)
    (folder / "notebooks" / "a.ipynb").write_text(json.dumps(NOTEBOOK))
    (folder / "notebooks" / "runs.yml").write_text(json.dumps(RUNS))
    small = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)) if limit else None
    words = WORK[name][0].replace("PORT", str(port)).split()
    return begin(folder, sys.executable, "-m", "metalearn_lib", *words, before=small)


def begin(folder: Path, *words: str, before: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
    with (folder / "told").open("wb") as told:
        return subprocess.Popen(
            words,
            cwd=folder,
            env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
            preexec_fn=before,
        )


def made(name: str, folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob(WORK[name][1]))}


def alive(marker: str) -> list[int]:
    """Processes whose environment or command names a folder: what a killed one has left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marker.encode() in told and state != "Z":
            found.append(int(path.name))
    return found


def gone_on(name: str, folder: Path, told: Told, port: int = 0) -> dict[str, bytes]:
    """What the command makes when it is begun again; and what was left behind before and after."""
    deadline = time.monotonic() + 20
    while (left := alive(str(folder))) and not port and time.monotonic() < deadline:
        time.sleep(0.1)
    told["orphans"] += 0 if port else len(left)
    again = command(name, folder, port)
    if again.wait() != 0:
        told["not gone on"] += 1
        print(f"{name} in {folder.name}:\n{(folder / 'told').read_text()}", file=sys.stderr)
    told["partial files"] += len(list(folder.rglob("*.partial")))
    return made(name, folder)


def killed(name: str, folder: Path, after: float, how: signal.Signals, told: Told) -> dict[str, bytes]:
    """What a command makes that is killed once and then begun again."""
    process = command(name, folder)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        told["killed"] += 1
        process.send_signal(how)
        process.wait()
        told["tracebacks"] += (folder / "told").read_text(errors="replace").count("Traceback")
    return gone_on(name, folder, told)


class Farm:
    """A scheduler and two workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "farm"
        self.folder.mkdir(exist_ok=True)
        facts = self.folder / "scheduler.json"
        facts.unlink(missing_ok=True)
        flags = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(facts))
        self.parts = {"scheduler": begin(self.folder, sys.executable, "-m", "dask", "scheduler", *flags)}
        while not (facts.exists() and facts.read_text().endswith("}")):
            time.sleep(0.05)
        self.port = int(json.loads(facts.read_text())["address"].rpartition(":")[2])
        for name in ("worker", "other"):
            self.start_worker(name)

    def start_worker(self, name: str) -> None:
        address = f"tcp://127.0.0.1:{self.port}"
        flags = (
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--local-directory",
            str(self.folder / name),
        )
        self.parts[name] = begin(self.folder, sys.executable, "-m", "dask", "worker", address, *flags)

    def kill(self, name: str) -> None:
        self.parts[name].kill()
        self.parts[name].wait()

    def close(self) -> None:
        for name in self.parts:
            self.kill(name)


def killed_part(which: str, folder: Path, after: float, told: Told) -> dict[str, bytes]:
    """What a contest on a cluster makes of which one part is killed."""
    farm = Farm(folder)
    process = command("cluster", folder, farm.port)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        told["killed"] += 1
        if which == "client":
            process.kill()
        else:
            farm.kill(which)
        if which == "worker":
            farm.start_worker("worker")
        told["worse than a sentence"] += which != "client" and process.wait() not in (0, 1)
        told["tracebacks"] += (folder / "told").read_text(errors="replace").count("Traceback")
        process.wait()
        if which == "scheduler":
            farm.close()
            farm = Farm(folder)
    answer = gone_on("cluster", folder, told, farm.port)
    farm.close()
    return answer


def full(name: str, folder: Path, limit: int, told: Told) -> dict[str, bytes]:
    """What a command makes that found no room for more than small files, and then enough."""
    process = command(name, folder, limit=limit)
    told["killed"] += process.wait() != 0
    told["tracebacks"] += (folder / "told").read_text(errors="replace").count("Traceback")
    return gone_on(name, folder, told)


def twice(name: str, folder: Path, told: Told) -> dict[str, bytes]:
    """What two make that do the same at once: one may give way, in words, to the other."""
    both = [command(name, folder), command(name, folder)]
    ended = [process.wait() for process in both]
    told["killed"] += 1
    told["worse than a sentence"] += not (0 in ended and set(ended) <= {0, 1, 2})
    told["tracebacks"] += (folder / "told").read_text(errors="replace").count("Traceback")
    return gone_on(name, folder, told)


def flipped(path: Path, read: Callable[[Path], object], count: int, chosen: random.Random) -> Told:
    """How a file with one byte changed is read: refused in words, as it was, or otherwise."""
    whole, told = path.read_bytes(), Told()
    before = repr(read(path))
    for _ in range(count):
        place = chosen.randrange(len(whole))
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ (1 << chosen.randrange(8))]) + whole[place + 1 :]
        )
        try:
            told["as it was" if repr(read(path)) == before else "ACCEPTED"] += 1
        except (ValueError, RuntimeError) as fault:
            told["refused" if path.name in str(fault) else "RAW"] += 1
        except Exception:
            told["RAW"] += 1
    path.write_bytes(whole)
    return told


def read_table(path: Path) -> object:
    table = Table(path)
    return [table.rows(key).to_pylist() for key in table.parts]


def read_swept(path: Path) -> object:
    try:
        table = read_parquet(path)
    except ValueError as fault:
        raise ValueError(f"{path.name}: {fault}") from fault
    return table.schema.metadata, table.to_pylist()


def read_notebook(path: Path) -> object:
    """Whether it stands as it was written, or is run again."""
    try:
        key = json.loads(path.read_bytes())["metadata"]["metalearn"]["key"]
    except (ValueError, KeyError, TypeError):
        key = ""
    if not is_fresh(Run(path, path, {}), key):
        raise ValueError(f"{path.name} is run again")
    return key


READ: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a rule": ("train/a.safetensors", lambda path: [str(each) for each in load_theta(path)]),
    "a checkpoint": (
        "train/runs/seed-0.checkpoint",
        lambda path: [str(sorted(load_checkpoint(path)[0].items())), load_checkpoint(path)[1]],
    ),
    "a table": ("evaluate/a.parquet", read_table),
    "a table of a sweep": ("sweep/made/sweep.parquet", read_swept),
    "preparations": ("preparations.parquet", lambda path: Preparations(path.parent)._kept),
    "an executed notebook": ("sweep/made/x=1.ipynb", read_notebook),
}
FAULTS = ("other bytes", "not gone on", "orphans", "partial files", "tracebacks", "worse than a sentence")


def main() -> int:
    parser = argparse.ArgumentParser(
        "soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="in all (default: 200)")
    parser.add_argument(
        "--flips", type=int, default=2000, metavar="N", help="bytes changed in all (default: 2000)"
    )
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK), help="what is killed")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    chosen, broken = random.Random(arguments.seed), 0
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        lasts, answers = dict[str, float](), dict[str, dict[str, bytes]]()
        for name in WORK:
            folder = Path(root) / name
            folder.mkdir()
            began = time.monotonic()
            if name == "cluster":
                answers[name] = answers["evaluate"]
                killed_part("none", folder, 600, Told())
            else:
                answers[name] = killed(name, folder, 600, signal.SIGKILL, Told())
            lasts[name] = (time.monotonic() - began) / 2  # it was begun twice
        kills: list[tuple[str, Callable[[str, Path, Told], dict[str, bytes]]]] = []
        for number in range(arguments.kills):
            name = arguments.only[number % len(arguments.only)]
            after = chosen.uniform(0, 1.1 * lasts[name])
            if name == "cluster":
                which = PARTS[number // len(arguments.only) % len(PARTS)]
                kills.append(
                    (
                        f"{name}, a {which}",
                        lambda _, at, told, which=which, after=after: killed_part(which, at, after, told),
                    )
                )
            else:
                how = chosen.choice((signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
                kills.append(
                    (name, lambda name, at, told, how=how, after=after: killed(name, at, after, how, told))
                )
        for name in set(arguments.only) - {"cluster"}:
            for limit in (300, 1200, 5000):
                kills.append(
                    (f"{name}, a full disk", lambda name, at, told, limit=limit: full(name, at, limit, told))
                )
            kills.append((f"{name}, two at once", lambda name, at, told: twice(name, at, told)))
        found: dict[str, Told] = {}
        for number, (told_as, kill) in enumerate(progress_bar(len(kills), "soak", "kill", True, kills)):
            name = told_as.partition(",")[0]
            folder = Path(root) / f"{name}-{number}"
            folder.mkdir()
            told = found.setdefault(told_as, Told())
            told["other bytes"] += kill(name, folder, told) != answers[name]
        print(f"{'':24}{'killed':>8}" + "".join(f"{fault:>{len(fault) + 3}}" for fault in FAULTS))
        for name, each in sorted(found.items()):
            broken += sum(each[fault] for fault in FAULTS)
            row = "".join(f"{each[fault]:>{len(fault) + 3}}" for fault in FAULTS)
            print(f"{name:24}{each['killed']:>8}{row}", flush=True)
        kept = Path(__file__).parents[1] / "results" / "preparations.parquet"
        (Path(root) / kept.name).write_bytes(kept.read_bytes())
        for name, (file, read) in READ.items():
            each = flipped(Path(root) / file, read, arguments.flips // len(READ), chosen)
            broken += each["ACCEPTED"] + each["RAW"]
            print(f"{name:24}" + ", ".join(f"{count} {how}" for how, count in sorted(each.items())))
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
