"""Run the notebooks whose result no longer holds, several at a time, each in processes of its own."""

from __future__ import annotations

import json
import os
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from metalearn_lib.files import atomic_path, check_folder, files_digest
from metalearn_lib.report.runs import (
    LIBRARY,
    OUTPUT_FOLDER,
    Run,
    RunsError,
    is_fresh,
    package_versions,
    read_runs,
    run_key,
)

if TYPE_CHECKING:
    from metalearn_lib.cluster import Cluster

POLL_SECONDS = 0.05


class NotebooksFailed(RuntimeError):
    """A notebook did not run to its end; the message has notebook, cell and traceback."""


class Report(NamedTuple):
    """The names of the runs that were executed, and of those that still held."""

    ran: tuple[str, ...]
    fresh: tuple[str, ...]


def run_notebooks(
    root: str | os.PathLike[str],
    profile: str = "standard",
    *,
    only: Iterable[str] | None = None,
    force: bool = False,
    jobs: int | None = None,
    progress: bool = True,
    cluster: Cluster | None = None,
) -> Report:
    """Bring `book/experiments/` up to date: execute what is stale, touch nothing else.

    A result appears whole or not at all: a run that fails or is killed leaves the old one in place. Where one
    run fails, those already going may finish, and no new one starts.

    Args:
        root: the folder that holds `notebooks/runs.yml`.
        profile: which parameters of that file to take.
        only: names of outputs; all of them by default.
        force: execute also what is fresh.
        jobs: how many notebooks run at a time; one for each core by default.
        progress: whether to tell on standard error how far it is.
        cluster: whose workers execute them instead.

    Raises:
        RunsError: if the request or the runs file is at fault; nothing has run then.
        NotebooksFailed: if a notebook failed.
        WorkerFailed: if a cluster's worker is lost, or not like this machine.
    """
    root, jobs = Path(root).resolve(), how_many(jobs)
    kept = root / "results"
    files = files_digest(LIBRARY, kept)
    keyed = [(run, run_key(run, files)) for run in _select(read_runs(root, profile), only)]
    stale = [(run, key) for run, key in keyed if force or not is_fresh(run, key)]
    if stale:
        try:
            check_folder(root / OUTPUT_FOLDER)
        except ValueError as fault:
            raise RunsError(str(fault)) from fault
    if failures := execute(stale, jobs, progress, cluster=cluster, kept=kept if kept.is_dir() else None):
        raise NotebooksFailed("\n\n".join(failures.values()))
    ran = tuple(run.name for run, _ in stale)
    return Report(ran, tuple(run.name for run, _ in keyed if run.name not in ran))


def how_many(jobs: int | None) -> int:
    """So many notebooks at a time; None is one for each core.

    Raises:
        RunsError: for fewer than one.
    """
    if jobs is not None and jobs < 1:
        raise RunsError(f"jobs={jobs} runs nothing; use 1 or more")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return jobs or cores


def execute(
    stale: list[tuple[Run, str]],
    jobs: int,
    progress: bool = True,
    go_on: bool = False,
    cluster: Cluster | None = None,
    kept: Path | None = None,
    ended: Callable[[str, float], None] = lambda name, seconds: None,
) -> dict[str, str]:
    """Execute runs, in their order; by name, what went wrong in those that failed.

    Args:
        stale: runs and their keys.
        go_on: whether new ones start when one has failed.
        cluster: whose workers execute them, in the place of `jobs` processes.
        kept: the folder of kept results that they may read, which workers must have, too.
        ended: is told the name of each run, and the seconds that it took.
    """
    if not stale:
        return {}
    if progress:
        print(f"running {', '.join(run.name for run, _ in stale)}", file=sys.stderr, flush=True)
    if cluster is not None:
        return _run_on(cluster, stale, kept, progress, go_on, ended)
    with tempfile.TemporaryDirectory(prefix="metalearn-", ignore_cleanup_errors=True) as scratch:
        return _run_all(stale, jobs, Path(scratch), progress, go_on, ended)


def _select(runs: list[Run], only: Iterable[str] | None) -> list[Run]:
    if only is None:
        return runs
    wanted = set(only)
    names = {run.name for run in runs}
    if unknown := sorted(wanted - names):
        raise RunsError(f"no run is called {unknown[0]!r}; there are {', '.join(sorted(names))}")
    return [run for run in runs if run.name in wanted]


@dataclass(frozen=True, eq=False)
class _Worker:
    """A process that runs one notebook, and dies when its standard input closes: with us, however we die."""

    run: Run
    process: subprocess.Popen[bytes]
    scratch: Path
    began: float
    """on the clock that only goes on"""

    @classmethod
    def start(cls, run: Run, key: str, scratch: Path) -> _Worker:
        scratch.mkdir()
        job = {
            "source": str(run.source),
            "output": str(run.output),
            "parameters": run.parameters,
            "key": key,
            "scratch": str(scratch),
        }
        # -P and the path: the library that was hashed is the one imported, even if another is installed
        environment = dict(os.environ)
        if str(LIBRARY.parent) not in site.getsitepackages():
            paths = [str(LIBRARY.parent), environment.get("PYTHONPATH")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        with (scratch / "cells").open("wb") as cells, (scratch / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "metalearn_lib.report.worker"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=cells,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is ours to handle
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead already; its status will tell
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
        return cls(run, process, scratch, time.monotonic())

    @property
    def cells_done(self) -> int:
        # the worker writes one byte for each cell
        return (self.scratch / "cells").stat().st_size

    def failure(self) -> str | None:
        """Say what went wrong in a process that has ended; None if nothing did."""
        if self.process.returncode == 0:
            return None
        told = self.scratch / "failure"
        if told.is_file():
            return told.read_text(encoding="utf8")
        log = (self.scratch / "log").read_text(encoding="utf8", errors="replace")
        status = self.process.returncode
        return f"{self.run.source}: its process ended early, with status {status}\n{log}".rstrip()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _run_all(
    stale: list[tuple[Run, str]],
    jobs: int,
    scratch: Path,
    progress: bool,
    go_on: bool,
    ended: Callable[[str, float], None],
) -> dict[str, str]:
    from tqdm import tqdm

    waiting, going, failures = list(stale), list[_Worker](), dict[str, str]()
    start, cells_done = time.monotonic(), 0
    # a bar on a terminal, lines alone elsewhere
    cells = sum(_count_code_cells(run) for run, _ in stale)
    bar = tqdm(total=cells, unit="cell", mininterval=0.5, disable=None if progress else True)
    try:
        while going or (waiting and (go_on or not failures)):
            while waiting and len(going) < jobs and (go_on or not failures):
                run, key = waiting.pop(0)
                going.append(_Worker.start(run, key, scratch / str(len(stale) - len(waiting))))
            time.sleep(POLL_SECONDS)
            for worker in [worker for worker in going if worker.process.poll() is not None]:
                going.remove(worker)
                worker.stop()
                cells_done += worker.cells_done
                ended(worker.run.name, time.monotonic() - worker.began)
                if failure := worker.failure():
                    failures[worker.run.name] = failure
                if progress:
                    told = "failed" if failure else "is done"
                    tqdm.write(
                        f"{worker.run.name} {told} after {time.monotonic() - start:.1f} s", file=sys.stderr
                    )
            bar.set_description_str(", ".join(worker.run.name for worker in going), refresh=False)
            bar.update(cells_done + sum(worker.cells_done for worker in going) - bar.n)
    finally:
        for worker in going:
            worker.stop()
        bar.close()
    return failures


def _run_on(
    cluster: Cluster,
    stale: list[tuple[Run, str]],
    kept: Path | None,
    progress: bool,
    go_on: bool,
    ended: Callable[[str, float], None],
) -> dict[str, str]:
    """On a cluster's workers; what they have written is written here."""
    from metalearn_lib.pools import open_pool
    from metalearn_lib.progress import progress_bar

    runs, failures = {run.name: run for run, _ in stale}, dict[str, str]()
    like = package_versions(), kept and files_digest(kept)
    calls = {run.name: partial(run_there, run, run.source.read_bytes(), key, *like) for run, key in stale}
    with open_pool(cluster=cluster, progress=progress) as results:
        for name, (failure, files, seconds) in progress_bar(
            len(calls), "notebooks", "notebook", progress, results(calls)
        ):
            ended(name, seconds)
            if failure is None:
                _keep(runs[name], files)
            else:
                failures[name] = failure
                if not go_on:
                    break
    return failures


def run_there(
    run: Run, source: bytes, key: str, packages: Mapping[str, str], read: str | None
) -> tuple[str | None, dict[str, bytes], float]:
    """On a cluster's worker: execute a notebook in a process of its own, away from where it lies.

    Args:
        packages: versions that it is to run with.
        read: digest of the kept results that it may read.

    Returns:
        What went wrong, if anything did; the files that were written, by their place beside the output; seconds.
    """
    here = f"{run.source}: {socket.gethostname()}"
    if other := [(name, its) for name, its in package_versions().items() if its != packages[name]]:
        name, its = other[0]
        return f"{here} has {name} {its}, and not {packages[name]}; install the same there", {}, 0.0
    if read is not None and files_digest(kept := LIBRARY.parent / "results") != read:
        return f"{here} has another {kept}; put the same there", {}, 0.0
    with tempfile.TemporaryDirectory(prefix="metalearn-", ignore_cleanup_errors=True) as folder:
        there = Run(
            Path(folder, "source", run.source.name), Path(folder, "made", run.output.name), run.parameters
        )
        there.source.parent.mkdir()
        there.source.write_bytes(source)
        worker = _Worker.start(there, key, Path(folder, "run"))
        try:
            while worker.process.poll() is None:
                time.sleep(POLL_SECONDS)
        finally:
            worker.stop()
        seconds = time.monotonic() - worker.began
        if failure := worker.failure():
            return failure.replace(str(there.source), str(run.source)), {}, seconds
        made = there.output.parent
        files = [path for path in made.rglob("*") if path.is_file()]
        return None, {path.relative_to(made).as_posix(): path.read_bytes() for path in files}, seconds


def _keep(run: Run, files: dict[str, bytes]) -> None:
    """Write the figures, then the notebook that vouches for them."""
    for name in sorted(files, key=lambda name: name == run.output.name):
        with atomic_path(run.output.parent / name) as path:
            path.write_bytes(files[name])
    for path in run.figures.glob(f"{run.name}.*"):
        if f"{run.figures.name}/{path.name}" not in files:
            path.unlink(missing_ok=True)


def _count_code_cells(run: Run) -> int:
    cells = json.loads(run.source.read_text(encoding="utf8"))["cells"]
    return sum(cell["cell_type"] == "code" for cell in cells) + bool(
        run.parameters
    )  # papermill adds one for these
