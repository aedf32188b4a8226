"""Kill what computes at random moments, go on, and see that the answer is the same to the last byte.

    python benchmarks/soak.py [--kills 200] [--flips 2000]

Then change bytes of every kind of file that is read, one at a time: each is to be refused in words, or read as if
nothing had been changed. It prints a table, and ends with 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from metalearn_lib.cards import load_theta
from metalearn_lib.evaluate.store import Table
from metalearn_lib.meta_train.checkpoint import load_checkpoint
from metalearn_lib.progress import progress_bar
from metalearn_lib.report.runs import Run, is_fresh

SWEPT = {
    "cells": [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "x = 1", "outputs": []},
        {"cell_type": "code", "metadata": {}, "source": "import time; time.sleep(0.2); x", "outputs": []},
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 4,
}
TRAIN = "train --out a.safetensors --runs runs --resume --seeds 2 --outer-steps 30 --num-tasks 8 --tasks-per-chunk 4"
WORK = {
    "train": (f"{TRAIN} --horizon 8 --batch-size 16", "a.safetensors"),
    "evaluate": (
        "evaluate --rivals sgd,adam --shift scale --severity 2 --instances 4 --tuning 6 --out a.parquet",
        "a.parquet",
    ),
    "sweep": ("sweep swept.ipynb -p x=1,2,3 --out made", "made/sweep.parquet"),
}
"""By what is killed: the command, which goes on where it was stopped, and the file that it makes."""


def start(command: str, folder: Path) -> subprocess.Popen[bytes]:
    (folder / "swept.ipynb").write_text(json.dumps(SWEPT))
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "metalearn_lib", *command.split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


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


def killed(name: str, folder: Path, after: float, number: signal.Signals, told: Counter[str]) -> bytes:
    """What the command makes when it is killed once and then started again until it ends."""
    command, made = WORK[name]
    process = start(command, folder)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        told["killed"] += 1
        process.send_signal(number)
        fault = process.communicate()[1].decode(errors="replace")
        told["tracebacks"] += fault.count("Traceback")
    deadline = time.monotonic() + 20
    while (left := alive(str(folder))) and time.monotonic() < deadline:
        time.sleep(0.1)
    told["orphans"] += len(left)
    again = start(command, folder)
    fault = again.communicate()[1].decode(errors="replace")
    if again.returncode != 0:
        told["not gone on"] += 1
        print(f"{name}, {number.name} after {after:.2f} s:\n{fault}", file=sys.stderr)
    path = folder / made
    return path.read_bytes() if path.exists() else b""


def flipped(path: Path, read: Callable[[Path], object], count: int, chosen: random.Random) -> Counter[str]:
    """How a file with one byte changed is read: refused in words, as it was, or otherwise."""
    whole, told = path.read_bytes(), Counter[str]()
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
    return [table.rows(key).drop_columns(["key", "code", "made"]).to_pylist() for key in table.parts]


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
    "an executed notebook": ("sweep/made/x=1.ipynb", read_notebook),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        "soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="in all (default: 200)")
    parser.add_argument(
        "--flips", type=int, default=2000, metavar="N", help="bytes changed in all (default: 2000)"
    )
    parser.add_argument("--only", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    chosen, broken = random.Random(arguments.seed), 0
    with tempfile.TemporaryDirectory(prefix="soak-") as root:
        lasts, answers = {}, {}
        for name in WORK:
            folder = Path(root) / name
            folder.mkdir()
            began = time.monotonic()
            answers[name] = killed(name, folder, 600, signal.SIGKILL, Counter())
            lasts[name] = time.monotonic() - began
        bar = progress_bar(arguments.kills, "soak", "kill", True)
        told: dict[str, Counter[str]] = {name: Counter() for name in arguments.only}
        for number in range(arguments.kills):
            name = arguments.only[number % len(arguments.only)]
            folder = Path(root) / f"{name}-{number}"
            folder.mkdir()
            how = chosen.choice((signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
            # the reference was started twice
            made = killed(name, folder, chosen.uniform(0, 0.6 * lasts[name]), how, told[name])
            told[name]["other bytes"] += made != answers[name]
            bar.update()
        bar.close()
        print(f"{'':10} killed  other bytes  not gone on  orphans  tracebacks")
        for name, each in told.items():
            faults = [each[fault] for fault in ("other bytes", "not gone on", "orphans", "tracebacks")]
            broken += sum(faults)
            print(f"{name:10} {each['killed']:6} {faults[0]:12} {faults[1]:12} {faults[2]:8} {faults[3]:11}")
        for name, (file, read) in READ.items():
            found = flipped(Path(root) / file, read, arguments.flips // len(READ), chosen)
            broken += found["ACCEPTED"] + found["RAW"]
            print(f"{name:22} " + ", ".join(f"{count} {how}" for how, count in sorted(found.items())))
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
