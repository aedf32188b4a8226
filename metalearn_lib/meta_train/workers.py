"""Several processes that train one theta: torch.distributed over gloo, with one thread to each."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from metalearn_lib.cores import GUARD, WorkerFailed, deaf_to_interrupts, leave_with_parent, spawning

_TIMEOUT = timedelta(seconds=300)
"""How long a worker waits for the others; one that dies is noticed at once, one that hangs after this."""


class PeerLost(RuntimeError):
    """Another worker does not answer any more."""


class Group:
    """The workers of one run. Chunk `c` is worker `c % size`'s.

    Args:
        rank: this worker, 0 to `size - 1`.
        size: workers in all.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def gather(self, mine: Tensor) -> list[Tensor]:
        """Every worker's tensor, in order of rank; all have the shape of `mine`."""
        if self.size == 1:
            return [mine]
        everyones = [torch.empty_like(mine) for _ in range(self.size)]
        with _peers():
            dist.all_gather(everyones, mine)
        return everyones

    def gather_tensors(self, mine: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """Every worker's named tensors in one dict, at rank 0; `None` elsewhere."""
        if self.size == 1:
            return mine
        gathered: list[Any] | None = [None] * self.size if self.rank == 0 else None
        with _peers():
            dist.gather_object(mine, gathered)
        return None if gathered is None else {name: each for part in gathered for name, each in part.items()}


@contextmanager
def _peers() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(f"another worker does not answer: {error}") from error


def in_torchrun() -> bool:
    """Whether torchrun started this process, and so made the group."""
    return dist.is_torchelastic_launched()


@contextmanager
def worker_group(workers: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[Group]:
    """Join the group that torchrun made, or start `workers - 1` processes beside this one, which is rank 0.

    Each started process calls `work(group, *arguments)`; the caller does the same inside the block.

    Raises:
        WorkerFailed: when a started process dies; the message holds its traceback, or the signal that killed
        it.
    """
    if in_torchrun():
        dist.init_process_group("gloo", timeout=_TIMEOUT)
        try:
            yield Group(dist.get_rank(), dist.get_world_size())
        finally:
            dist.destroy_process_group()
    elif workers == 1:
        yield Group()
    else:
        with _started(workers, work, arguments) as group:
            yield group


@contextmanager
def _started(workers: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[Group]:
    context = spawning()
    with tempfile.TemporaryDirectory(prefix="metalearn-") as folder:
        meeting = str(Path(folder) / "meeting")
        processes, reports = [], []
        for rank in range(1, workers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=_be_worker, args=(rank, workers, meeting, theirs, work, arguments), daemon=True
            )
            with deaf_to_interrupts():
                process.start()
            theirs.close()
            processes.append(process)
            reports.append(ours)
        try:
            for rank, report in enumerate(reports, 1):
                try:
                    report.recv()  # that it has begun
                except EOFError:
                    raise WorkerFailed(f"worker {rank} ended before it could begin; {GUARD}.") from None
            _join(0, workers, meeting)
            yield Group(0, workers)
            for process in processes:
                process.join(_TIMEOUT.total_seconds())
        except PeerLost as lost:
            raise WorkerFailed(_what_happened(processes, reports)) from lost
        finally:
            for process in processes:
                process.terminate()
                process.join()
            if dist.is_initialized():
                dist.destroy_process_group()


def _join(rank: int, size: int, meeting: str) -> None:
    with _peers():
        store = dist.FileStore(meeting, size)  # pyright: ignore[reportPrivateImportUsage]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=_TIMEOUT)


def _be_worker(
    rank: int,
    size: int,
    meeting: str,
    report: Connection,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    leave_with_parent()
    report.send("begun")
    torch.set_num_threads(1)
    # Ctrl-C reaches every process; rank 0 tells the others when to stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _join(rank, size, meeting)
        work(Group(rank, size), *arguments)
        dist.destroy_process_group()
    except PeerLost:
        os._exit(2)  # the one that was lost has the story
    except BaseException:
        report.send(traceback.format_exc())
        report.close()
        os._exit(1)


def _what_happened(processes: list[BaseProcess], reports: list[Connection]) -> str:
    for process in processes:
        process.join(10)
    for rank, report in enumerate(reports, start=1):
        try:
            if report.poll():
                return f"worker {rank} failed, and the run with it:\n{report.recv()}"
        except EOFError:
            pass
    for rank, process in enumerate(processes, start=1):
        if (process.exitcode or 0) < 0:
            name = signal.Signals(-process.exitcode).name  # type: ignore[operator]
            return f"worker {rank} was killed ({name}), and the run ends with it; resume from its checkpoint."
    return "a worker does not answer any more, and the run ends with it; resume from its checkpoint."


@contextmanager
def stop_request() -> Iterator[Callable[[], bool]]:
    """Hold back Ctrl-C and SIGTERM, and say whether one came; a second one acts at once.

    A worker of a pool that was told to end does so when the block ends: another may have ended with the lock of their
    queue in its hand, and whoever asked for more work would wait for ever.
    """
    asked = ended = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked, ended
        asked, ended = True, number == signal.SIGTERM
        signal.signal(number, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, ask)
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if ended and parent_process() is not None:
            os._exit(1)
