"""One thread to a process: at these sizes more threads gain nothing, and they collapse when cores are shared. And no
process that outlives the one it works for."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait

import torch


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside the block, or inside the function that this decorates.

    Numbers below 1e-38 are rounded to 0 there. A solved task's gradients are that small, and some processors take a
    hundred times as long over them.
    """
    threads, flushes = torch.get_num_threads(), _flushes_denormals()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)


def _flushes_denormals() -> bool:
    return not float(torch.tensor(2.0**-126) / 2)


def leave_with_parent() -> None:
    """End this process when the one that started it ends, even by a kill that lets it say nothing."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
