"""One thread to a process: at these sizes more threads gain nothing, and they collapse when cores are shared. And no
process that outlives the one it works for."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, current_process, get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import SpawnContext
from pathlib import Path

import torch

GUARD = 'a script that starts processes must do so under `if __name__ == "__main__":`, or each would start its own'


class WorkerFailed(RuntimeError):
    """A worker process died; the message says what is known of it."""


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> float:
    """Bytes that this process may still take; infinity where the system does not say."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as told:
            return 1024 * next(float(line.split()[1]) for line in told if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return math.inf


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside the block, or inside the function that this decorates, and in float32 on the CPU,
    whatever the user's defaults are: others would draw other tasks.

    Numbers below 1e-38 are rounded to 0 there. A solved task's gradients are that small, and some processors take a
    hundred times as long over them.
    """
    threads, flushes, dtype = torch.get_num_threads(), _flushes_denormals(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.set_default_dtype(torch.float32)
    try:
        if torch.get_default_device().type == "cpu":
            yield
        else:
            with torch.device("cpu"):
                yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)
        torch.set_default_dtype(dtype)


def _flushes_denormals() -> bool:
    return not float(torch.tensor(2.0**-126, dtype=torch.float32, device="cpu") / 2)


def leave_with_parent() -> None:
    """End this process when the one that started it ends, even by a kill that lets it say nothing."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def spawning() -> SpawnContext:
    """How processes are started: afresh.

    A process that is itself still reading the script that started it ends here, and whoever started it says why.
    """
    if getattr(current_process(), "_inheriting", False):
        raise SystemExit(1)
    return get_context("spawn")


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes that are started inside the block leave Ctrl-C to this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def process_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes, which end with the block, and at once where it raises.

    Raises:
        WorkerFailed: when one of them dies.
    """
    context, before = spawning(), active_children()
    pool = ProcessPoolExecutor(workers, context, leave_with_parent)
    try:
        with deaf_to_interrupts():
            for _ in range(workers):
                pool.submit(int)  # each starts a process
        yield pool
    except BaseException as fault:
        pool.shutdown(wait=False, cancel_futures=True)
        for each in active_children():
            if each not in before:
                each.terminate()
        if isinstance(fault, BrokenProcessPool):
            raise WorkerFailed(
                f"a worker process was killed, or ended before it could begin ({GUARD}); what was kept stays."
            ) from None
        raise
    pool.shutdown()
