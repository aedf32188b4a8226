"""Who makes the calls: this process, others beside it, or a cluster. What comes back is the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from contextlib import contextmanager
from functools import partial
from typing import Any

from metalearn_lib.cluster import Cluster, Results, connected
from metalearn_lib.cores import available_cores, process_pool


def in_this_process(calls: Mapping[Any, partial[Any]]) -> Iterator[tuple[Any, Any]]:
    """One call after another."""
    return ((name, call()) for name, call in calls.items())


@contextmanager
def open_pool(
    workers: int | None = None,
    calls: int | None = None,
    cluster: Cluster | None = None,
    progress: bool = True,
) -> Iterator[Results]:
    """What makes calls and yields each result, with the call's name, as soon as it is there.

    Args:
        workers: processes of this machine; its cores by default, and no more than there are `calls`. 1 is this one.
        calls: how many there will be, where that is known.
        cluster: whose workers make the calls instead.
        progress: whether to say on standard error that workers are waited for.

    Raises:
        ValueError: for no workers, or workers and a cluster.
        WorkerFailed: when a worker dies, or a cluster cannot be used.
    """
    if cluster is not None:
        if workers is not None:
            raise ValueError(
                f"workers={workers} and a cluster: the cluster has workers of its own; leave one out."
            )
        with connected(cluster, progress) as results:
            yield results
        return
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be 1 or more.")
    workers = workers or available_cores()
    if calls is not None:
        workers = min(workers, max(1, calls))
    if workers == 1:
        yield in_this_process
        return
    with process_pool(workers) as pool:

        def submitted(calls: Mapping[Any, partial[Any]]) -> Iterator[tuple[Any, Any]]:
            waiting = {pool.submit(call): name for name, call in calls.items()}
            return ((waiting[done], done.result()) for done in as_completed(waiting))

        yield submitted
