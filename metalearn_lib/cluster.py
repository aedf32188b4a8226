"""Calls made by the workers of a Dask cluster, each of which is first held to be like this machine.

A row's bytes depend on the code, the versions of what computes, the processor and the number of threads. So every call
travels with what this machine is; a worker that is another refuses it, by name. What a worker says that it is, it has
looked up once, when it was first asked: where files have changed since, workers must be started anew.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
import pickle
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from metalearn_lib.cores import WorkerFailed, one_thread
from metalearn_lib.directions.adam import Adam
from metalearn_lib.files import files_digest
from metalearn_lib.fused.compile import processor
from metalearn_lib.fused.learner import LOSS_AND_GRAD, fuse
from metalearn_lib.inner_loop import InnerLoop, draw_instances
from metalearn_lib.learners import MLP
from metalearn_lib.meta_optimizer import MetaOptimizer
from metalearn_lib.rates.learned import LearnedRate
from metalearn_lib.sources import Sources, code_digest
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

if TYPE_CHECKING:
    from distributed import Client

IN_FLIGHT = 2
"""Calls that a worker's thread has been given: one that it makes, and one that waits. A scheduler that holds
thousands is slow, and one that is lost takes what it holds along."""
_TIMEOUT = 15
"""Seconds until a scheduler must have answered."""
_EVERY = 0.5
"""Seconds until it is asked again how many workers there are."""
_ARITHMETIC = re.compile(r"(s?sse|avx|fma|f16c|bmi|amx|neon|asimd|sve)")
"""Names of instructions that change what a compiler or a library makes of arithmetic."""


@dataclass(frozen=True)
class Cluster:
    """Where a Dask scheduler listens. Its workers are started by whoever has the machines.

    Args:
        address: `tls://host:port`, with the certificates that Dask's own configuration names; or `tcp://host:port`
            for this very machine.
        insecure: whether plain tcp may leave this machine, in a network of which everyone may run code on it.

    Raises:
        ValueError: for what is no such address, or plain tcp to another machine that is not `insecure`.
    """

    address: str
    insecure: bool = False

    def __post_init__(self) -> None:
        found = re.fullmatch(r"(tls|tcp)://(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}", self.address)
        if found is None:
            raise ValueError(
                f"cluster={self.address!r} is no address of a scheduler; write e.g. tls://10.0.0.5:8786."
            )
        scheme, host = found.groups()
        if scheme == "tcp" and not self.insecure and not _is_loopback(host.strip("[]")):
            raise ValueError(
                f"cluster={self.address!r} is plain tcp to another machine, over which whoever reaches it can run code "
                "on all of them; use tls://, or say insecure where everyone in the network may."
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Machine:
    """What, beside its question, an answer's bytes depend on."""

    python: str
    torch: str
    numpy: str
    compiler: str
    """of the functions in C++, and nothing where plain PyTorch takes their place"""
    processor: str
    """its kind, and those instructions that arithmetic is made of"""
    library: str
    """digest of all files of metalearn_lib"""
    canary: str
    """digest of numbers that came out here"""


@cache
def this_machine() -> Machine:
    """What this one is; looked up once in a process."""
    instructions = sorted(filter(_ARITHMETIC.match, processor().split()))
    return Machine(
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__,
        compiler=_compiler(),
        processor=" ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *instructions]),
        library=files_digest(Path(__file__).parent),
        canary=canary(),
    )


def _compiler() -> str:
    if LOSS_AND_GRAD.function is None:
        return ""
    told = subprocess.run([os.environ.get("CXX", "g++"), "--version"], capture_output=True, text=True).stdout
    return told.splitlines()[0]


def canary() -> str:
    """Sixteen hexadecimal digits of numbers in which machines part company first: a short training and a product of
    matrices."""
    digest = hashlib.sha256()
    with one_thread():
        meta_optimizer = MetaOptimizer()
        theta = torch.linspace(-0.1, 0.1, meta_optimizer.num_theta)
        for learner in (mlp := MLP((2, 32, 32, 4)), fuse(mlp)):
            instances = draw_instances(GaussianMixture(), learner, Seeds("demo", 3), num_steps=40)
            state, info = InnerLoop(learner, LearnedRate(0.05, theta, meta_optimizer), Adam()).unroll(
                instances
            )
            digest.update(state.params.numpy().tobytes() + info.lr.numpy().tobytes())
        table = instances.table[:512]
        digest.update((table.T @ table).exp().sum(0).log().numpy().tobytes())
    return digest.hexdigest()[:16]


class Differs(Exception):
    """A worker is not like the machine that asks it."""

    def __init__(self, where: str, told: str, code: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(where, told, dict(code))  # these are what it is pickled as
        self.where, self.told, self.code = where, told, code


@cache
def _sources() -> Sources:
    return Sources()


def checked(expected: Machine, code: str, pickled: bytes) -> Any:
    """On a worker: make a call, where this is a machine as expected, and the call's code is the code that it had.

    Args:
        pickled: the call, which so only workers must be able to read, and not the scheduler.

    Raises:
        Differs: where it is not.
    """
    from distributed import get_worker

    worker = get_worker()
    if (threads := worker.state.nthreads) != 1:
        raise Differs(worker.address, f"it has {threads} threads; start it with --nthreads 1")
    here = this_machine()
    for field in fields(Machine):
        if (its := getattr(here, field.name)) != (ours := getattr(expected, field.name)):
            raise Differs(worker.address, difference(field.name, its, ours))
    try:
        call = pickle.loads(pickled)
    except (ImportError, AttributeError) as fault:
        raise Differs(worker.address, f"{fault}; put the same file there, where Python finds it") from fault
    if code_digest(found := _sources().code(call)) != code:
        raise Differs(worker.address, "", found)
    return call()


def difference(what: str, its: str, ours: str) -> str:
    if what == "library":
        return "its metalearn_lib is another; install this one there, and start the worker anew"
    if what == "canary":
        return "it computes other numbers, though all that is known of it is the same; leave it out"
    if what == "compiler" and not (its and ours):
        return f"{'it' if ours else 'this machine'} has no C++ compiler that works; install {its or ours}, or set CXX"
    if what == "processor":
        its, ours = (
            " ".join(sorted(set(one.split()) - set(other.split())))
            for one, other in ((its, ours), (ours, its))
        )
        return f"its processor has {its or 'nothing'} that this one has not, and lacks {ours or 'nothing'}"
    return f"its {what} is {its}, and this machine's is {ours}"


Results = Callable[[Mapping[Any, partial[Any]]], Iterator[tuple[Any, Any]]]
"""What makes calls, by name, and yields each result as soon as it is there."""


@contextmanager
def connected(cluster: Cluster, progress: bool = True) -> Iterator[Results]:
    """What makes calls on the workers of a cluster.

    Each is given to a worker again if that one is lost, so a call may be made twice; only its answer counts. Calls that
    have begun when the block is left in haste go on to their end.

    Raises:
        ValueError: where Dask is not installed.
        WorkerFailed: when no scheduler answers, one is lost, a worker is not like this machine, or a call ends its
            worker again and again.
    """
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError as fault:
        raise ValueError('a cluster needs Dask; pip install "metalearn-lib[cluster]"') from fault
    expected, security = this_machine(), Security()
    try:
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as fault:
        raise WorkerFailed(
            f"the certificates that Dask's configuration names cannot be used ({fault}); name others, or mend them."
        ) from fault
    if cluster.address.startswith("tls") and context is None:
        raise WorkerFailed(
            f"{cluster.address} speaks TLS, and Dask's configuration names no certificates for it; set "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ..__TLS__CLIENT__CERT and ..__TLS__CLIENT__KEY."
        )
    with _quiet():
        try:
            client = Client(cluster.address, timeout=_TIMEOUT, set_as_default=False, security=security)
        except (OSError, RuntimeError) as fault:
            raise WorkerFailed(
                f"no scheduler answers at {cluster.address} ({str(fault).splitlines()[0]}); start one with "
                "`dask scheduler`, with certificates that this machine's belong to where it speaks TLS."
            ) from fault
        try:
            if progress and not client.nthreads():
                print(f"{cluster.address} has no workers yet; waiting for some", file=sys.stderr)
            yield partial(_results, client, cluster, expected)
        finally:
            client.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Dask logs of a connection that ends: what matters is told in a sentence."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "distributed"]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def _results(
    client: Client, cluster: Cluster, expected: Machine, calls: Mapping[Any, partial[Any]]
) -> Iterator[tuple[Any, Any]]:
    import cloudpickle
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    lost = f"the scheduler at {cluster.address} was lost; what was kept stays, and the same command goes on from there."
    left, going, done = iter(calls.items()), {}, as_completed([], loop=client.loop)
    threads, asked = 0, -_EVERY
    try:
        while True:
            if time.monotonic() - asked >= _EVERY:
                try:
                    threads = sum(dict(client.nthreads()).values())  # type: ignore[arg-type]
                except OSError as fault:
                    raise WorkerFailed(lost) from fault
                asked = time.monotonic()
            for name, call in islice(left, max(0, IN_FLIGHT * max(1, threads) - len(going))):
                code = code_digest(_sources().code(call))
                future = client.submit(checked, expected, code, cloudpickle.dumps(call), pure=False)
                going[future] = name, call
                done.add(future)
            if not going:
                return
            future = next(done)
            name, call = going.pop(future)
            if future.status == "cancelled":
                raise WorkerFailed(lost)
            try:
                answer = future.result()
            except Differs as fault:
                told = fault.told or _other_code(_sources().code(call), fault.code)
                raise WorkerFailed(
                    f"worker {fault.where} cannot take part: {told}. What was kept stays."
                ) from None
            except KilledWorker as fault:
                where = fault.last_worker.address
                raise WorkerFailed(
                    f"{name} has ended each worker that it was given to, the last at {where}, and is given to no more; "
                    "see what that has written, as of memory that was too little. What was kept stays."
                ) from None
            yield name, answer
    finally:
        client.cancel(list(going))


def _other_code(ours: Mapping[str, str], its: Mapping[str, str]) -> str:
    other = sorted(name for name in ours.keys() | its.keys() if ours.get(name) != its.get(name))
    told = ", ".join(other[:3])
    if told.startswith("__main__."):
        return f"{told} stands in the script itself, which it does not have; put it into a module"
    return f"its {told} is another than here; put the same file there, and start the worker anew"
