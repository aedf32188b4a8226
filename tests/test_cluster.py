"""A real scheduler and real workers give the bytes of one process, whoever of them is killed, and refuse by name."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import distributed  # noqa: F401 - before its configuration is changed
import pandas as pd
import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from report_project import REPOSITORY, Project, notebook
from test_report_runner import alive, wait_for

from metalearn_lib.cli import main
from metalearn_lib.cluster import Cluster, _other_code, difference, this_machine
from metalearn_lib.cores import WorkerFailed
from metalearn_lib.directions.adam import Adam
from metalearn_lib.directions.gradient import Gradient
from metalearn_lib.evaluate import Cell, Store, Tune, constant, evaluate
from metalearn_lib.evaluate.jobs import jobs
from metalearn_lib.meta_train import MetaTrainConfig, meta_train_best
from metalearn_lib.meta_train.meta_seeds import Kept, _train_there
from metalearn_lib.pools import open_pool
from metalearn_lib.report.sweep import DURATIONS, sweep
from metalearn_lib.tasks.gaussian_mixture import GaussianMixture
from metalearn_lib.types import Seeds

CONFIG = MetaTrainConfig(num_tasks=4, tasks_per_chunk=2, horizon=6, batch_size=16, outer_steps=3)
WAITS = notebook(
    "#: parameters\nnumber = 1\nsignal = ''",
    "import os, pathlib, time",
    "while signal and not pathlib.Path(signal).exists():\n"
    "    pathlib.Path(f'{signal}.kernel').write_text(str(os.getpid()))\n    time.sleep(0.1)",
    "from IPython.display import display\n"
    "display({'text/plain': repr(2 * number)}, raw=True, metadata={'scrapbook': {'name': 'twice', 'mime_prefix': ''}})",
)


class Farm:
    """A scheduler of 127.0.0.1, and workers that can be killed."""

    def __init__(self, folder: Path, *flags: str, **environment: str) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        self.environment = os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment
        self.flags = flags
        told = folder / "scheduler.json"
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(told))
        wait_for(lambda: told.exists() and told.read_text().endswith("}"))
        self.address = json.loads(told.read_text())["address"]
        self.cluster = Cluster(self.address)

    def worker(self, threads: int = 1, **environment: str) -> subprocess.Popen[bytes]:
        there = self.folder / f"worker{len(self.processes)}"
        flags = ("--nthreads", str(threads), "--no-nanny", "--local-directory", str(there))
        return self._start("worker", self.address, *flags, **environment)

    def _start(self, what: str, *flags: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", what, *flags, *self.flags, "--no-dashboard"],
                env=self.environment | environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    with contextlib.closing(Farm(tmp_path)) as made:
        yield made


@contextlib.contextmanager
def meanwhile(act) -> Iterator[None]:
    """Something done beside the block, whose fault is the block's."""
    faults: list[BaseException] = []

    def acts() -> None:
        try:
            act()
        except BaseException as fault:
            faults.append(fault)

    beside = threading.Thread(target=acts)
    beside.start()
    yield
    beside.join()
    assert not faults


SMALL = Cell("tiny", GaussianMixture(num_points=96, num_test=64), hidden=(8,), batch_size=32, horizon=24)
CELLS = [replace(SMALL, name=f"factor {factor}", base_lr_factor=factor) for factor in (1, 3, 10)]
METHODS = {"SGD": Tune(constant(Gradient()), SMALL), "Adam": Tune(constant(Adam()), SMALL)}


def contest(store: Store, cluster: Cluster | None = None) -> bytes:
    """The table that is kept, byte for byte."""
    seeds = Seeds("score", 3), Seeds("tune", 4)
    workers = None if cluster else 1
    evaluate(
        CELLS, METHODS, *seeds, store=store, workers=workers, progress=False, merge=True, cluster=cluster
    )
    assert store.path is not None
    return store.path.read_bytes()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What one process makes of the contest."""
    return contest(Store(tmp_path_factory.mktemp("alone") / "a.parquet"))


class Watched(Store):
    """Does something as soon as a first row is kept, and counts those that are."""

    def __init__(self, path: Path, then=lambda: None) -> None:
        super().__init__(path, path.with_name("parts"))
        self.then, self.count = then, 0

    def keep_rows(self, key, code, rows) -> None:
        super().keep_rows(key, code, rows)
        self.count += 1
        if self.count == 1:
            self.then()


def test_two_workers_give_the_bytes_of_one_process(farm: Farm, tmp_path: Path, alone: bytes):
    for _ in range(2):
        farm.worker()
    assert contest(Store(tmp_path / "a.parquet"), farm.cluster) == alone


def test_a_lost_worker_is_made_up_for_by_one_that_comes_late(farm: Farm, tmp_path: Path, alone: bytes):
    only = farm.worker()

    def lose() -> None:
        only.kill()
        only.wait()
        farm.worker()

    assert contest(Watched(tmp_path / "a.parquet", lose), farm.cluster) == alone


def test_what_was_kept_before_the_client_was_killed_is_not_computed_again(
    farm: Farm, tmp_path: Path, alone: bytes
):
    farm.worker()
    path = tmp_path / "a.parquet"
    script = (
        "import os, sys; sys.path.insert(0, 'tests')\nfrom pathlib import Path\n"
        "from test_cluster import Cluster, Watched, contest\n"
        f"contest(Watched(Path({str(path)!r}), lambda: os.kill(os.getpid(), 9)), Cluster({farm.address!r}))"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, env=farm.environment)
    assert killed.returncode == -signal.SIGKILL
    assert not path.exists()
    store = Watched(path)
    assert contest(store, farm.cluster) == alone
    assert store.count == len(CELLS) * len(METHODS) - 1


def test_a_call_that_ends_its_workers_is_named_and_the_others_are_told_before(tmp_path: Path):
    allowed = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    with contextlib.closing(Farm(tmp_path, **allowed)) as farm:
        farm.worker()
        with open_pool(cluster=farm.cluster, progress=False) as results:
            assert dict(results({"fine": partial(abs, -1)})) == {"fine": 1}
            with pytest.raises(
                WorkerFailed, match=r"^deadly has ended each worker that it was given to, the last"
            ):
                dict(results({"deadly": partial(os._exit, 1)}))


def test_a_lost_scheduler_ends_it_in_a_sentence(farm: Farm):
    farm.worker()
    calls = {"first": partial(abs, -1), "second": partial(time.sleep, 600)}
    with open_pool(cluster=farm.cluster, progress=False) as results:
        told = results(calls)
        assert next(told) == ("first", 1)
        farm.processes[0].kill()
        with pytest.raises(WorkerFailed, match="was lost; what was kept stays, and the same command goes on"):
            next(told)


def test_a_cluster_that_is_not_there_is_said_so_in_a_sentence(monkeypatch):
    monkeypatch.setattr("metalearn_lib.cluster._TIMEOUT", 1)
    with (
        pytest.raises(WorkerFailed, match=r"no scheduler answers at tcp://127.0.0.1:1 .*`dask scheduler`"),
        open_pool(cluster=Cluster("tcp://127.0.0.1:1")),
    ):
        pass


def test_a_meta_seed_goes_on_from_its_checkpoint_when_its_worker_is_killed(farm: Farm, tmp_path: Path):
    config = replace(CONFIG, outer_steps=40)
    expected, _ = meta_train_best(config, 1, workers=1, progress=False)
    only, runs = farm.worker(), tmp_path / "runs"

    def lose() -> None:
        wait_for((runs / "seed-0.checkpoint").exists)
        only.kill()
        only.wait()
        farm.worker()

    with meanwhile(lose):
        best, _ = meta_train_best(config, 1, progress=False, runs=runs, cluster=farm.cluster)
    assert torch.equal(best.theta, expected.theta)
    assert best.card == expected.card
    assert sorted(path.name for path in runs.iterdir()) == [
        "seed-0.checkpoint",
        "seed-0.checkpoint.lock",
        "seed-0.jsonl",
    ]


def test_a_worker_that_does_not_see_the_runs_sends_what_is_to_be_kept(tmp_path: Path):
    kept = Kept.of(tmp_path / "not here", CONFIG)
    assert kept is not None
    trained, files = _train_there(CONFIG, kept, "mark", {})
    again, _ = _train_there(CONFIG, kept, "mark", files)
    assert files.keys() == set(kept)
    assert not kept.checkpoint.parent.exists()
    assert torch.equal(again.theta, trained.theta)


def test_a_sweep_gives_the_same_files_when_a_worker_is_killed_with_its_kernel(farm: Farm, tmp_path: Path):
    source, mark = tmp_path / "waits.ipynb", tmp_path / "mark"
    source.write_text(WAITS)
    mark.touch()
    grid = {"number": [1, 2], "signal": [str(mark)]}
    sweep(source, grid, tmp_path / "here", jobs=1, progress=False)
    mark.unlink()
    only, kernel = farm.worker(), tmp_path / "mark.kernel"

    def lose() -> None:
        wait_for(lambda: kernel.exists() and kernel.read_text())
        pid = int(kernel.read_text())
        only.kill()
        wait_for(lambda: not alive(pid))
        mark.touch()
        farm.worker()

    with meanwhile(lose):
        sweep(source, grid, tmp_path / "there", progress=False, cluster=farm.cluster)
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / each).rglob("*.*") if path.name != DURATIONS}
        for each in ("here", "there")
    )
    assert there == here
    assert pd.read_parquet(tmp_path / "there" / "sweep.parquet").twice.tolist() == [2, 4]


def test_the_notebooks_of_a_book_run_on_a_cluster(farm: Farm, tmp_path: Path):
    farm.worker()
    project = Project.new(tmp_path / "project", waits=WAITS)
    told = project.run("--cluster", farm.address)
    assert (told.returncode, told.stdout) == (0, "ran waits\n"), told.stderr
    here = project.outputs()
    assert project.run().stdout == "nothing has changed in waits\n"
    assert project.run("--force", "--jobs", "1").returncode == 0
    assert {name: text for name, (text, _) in project.outputs().items()} == {
        name: text for name, (text, _) in here.items()
    }
    told = project.run("--cluster", farm.address, "--jobs", "2")
    assert (told.returncode, told.stderr) == (
        2,
        "metalearn: --jobs is of this machine, and --cluster of others; name one.\n",
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with contextlib.closing(Farm(tmp_path_factory.mktemp("mixed"))) as made:
        yield made


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("two threads", "it has 2 threads; start it with --nthreads 1"),
        ("no compiler", r"it has no C\+\+ compiler that works; install .*, or set CXX"),
        ("another library", "its metalearn_lib is another; install this one there"),
        ("no rule", "No module named 'own_rules'; put the same file there, where Python finds it"),
        ("another rule", "its own_rules.answer is another than here; put the same file there"),
    ],
)
def test_a_worker_that_would_compute_otherwise_is_refused_by_name(
    mixed: Farm, tmp_path: Path, monkeypatch, how, told
):
    call, threads, environment = partial(abs, -1), 1, {}
    if how == "two threads":
        threads = 2
    elif how == "no compiler":
        environment = {"CXX": "there-is-none"}
    elif how == "another library":
        shutil.copytree(REPOSITORY / "metalearn_lib", tmp_path / "metalearn_lib")
        (tmp_path / "metalearn_lib" / "more.txt").touch()
        environment = {"PYTHONPATH": str(tmp_path)}
    else:
        for folder, answer in (("here", 1), ("there", 2)):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "own_rules.py").write_text(f"def answer():\n    return {answer}\n")
        monkeypatch.syspath_prepend(tmp_path / "here")
        if how == "another rule":
            environment = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(tmp_path / "there")])}
        monkeypatch.delitem(sys.modules, "own_rules", raising=False)
        call = partial(importlib.import_module("own_rules").answer)
    worker = mixed.worker(threads, **environment)
    try:
        with (
            pytest.raises(WorkerFailed, match=f"^worker tcp://127.0.0.1:[0-9]+ cannot take part: {told}"),
            open_pool(cluster=mixed.cluster, progress=False) as results,
        ):
            dict(results({"any": call}))
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("python", "its python is other, and this machine's is"),
        ("processor", "its processor has other that this one has not, and lacks .*sse"),
        ("canary", "it computes other numbers, though all that is known of it is the same"),
    ],
)
def test_every_difference_between_machines_is_told(field: str, told: str):
    here = this_machine()
    assert re.match(told, difference(field, "other", getattr(here, field)))


def test_a_question_of_a_contest_is_called_by_what_it_asks():
    (first, *_) = jobs(CELLS, METHODS, Seeds("score", 3), Seeds("tune", 4))
    assert [str(each) for each in (first, *first.rows.first)] == [
        "'SGD' in 'factor 1'",
        "the target of 'factor 1'",
        "the numbers of 'tiny'",
    ]


def test_what_a_script_itself_defines_is_told_apart():
    told = _other_code({"__main__.Mine": "1", "a.B": "2"}, {"a.B": "2"})
    assert told == "__main__.Mine stands in the script itself, which it does not have; put it into a module"


def test_what_is_no_address_or_would_leave_this_machine_unguarded_is_refused_before_anything_is_sent():
    for address in ("10.0.0.5:8786", "tls://10.0.0.5", "http://a:1", "tls://a b:1", ""):
        with pytest.raises(ValueError, match=r"is no address of a scheduler; write e\.g\. tls://"):
            Cluster(address)
    for address in ("tcp://10.0.0.5:8786", "tcp://head:1", "tcp://[2001:db8::1]:1"):
        with pytest.raises(ValueError, match="is plain tcp to another machine"):
            Cluster(address)
        assert Cluster(address, insecure=True).address == address
    for address in ("tcp://127.0.0.1:1", "tcp://localhost:1", "tcp://[::1]:1", "tls://10.0.0.5:8786"):
        Cluster(address)


def test_the_two_counts_of_processes_exclude_each_other():
    with (
        pytest.raises(ValueError, match=r"workers=2 and a cluster: .*leave one out"),
        open_pool(2, cluster=Cluster("tcp://localhost:1")),
    ):
        pass
    with pytest.raises(ValueError, match=r"workers=-3 must be 1 or more\."), open_pool(-3):
        pass
    assert main(["evaluate", "--insecure"]) == 2


def test_the_four_lines_of_the_page_run_as_they_stand(tmp_path: Path):
    page = (REPOSITORY / "book" / "cluster_howto.md").read_text(encoding="utf-8")
    install, *lines = re.findall(r"^\$ (.*)", page.partition("## Two machines")[0], re.M)
    assert install == 'pip install -e ".[cluster]"'
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    script = "\n".join([*lines, "status=$?", "kill $(jobs -p)", "wait", "exit $status"]).replace("8786", port)
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "wrote evaluate-scale-4.parquet" in ended.stdout
    assert set(pd.read_parquet(tmp_path / "evaluate-scale-4.parquet").method) == {"SGD", "Adam"}


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(1)
        )
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


def test_over_tls_a_client_without_the_right_certificate_is_refused(tmp_path: Path):
    path, other = (str(certificate(tmp_path, name)) for name in ("ours", "other"))
    names = [f"distributed.comm.tls.{name}" for name in ("ca-file", "client.cert", "client.key")]
    flags = ("--protocol", "tls", "--tls-ca-file", path, "--tls-cert", path, "--tls-key", path)
    with contextlib.closing(Farm(tmp_path, *flags)) as farm:
        assert farm.address.startswith("tls://")
        farm.worker()
        with (
            pytest.raises(WorkerFailed, match="names no certificates for it; set DASK_"),
            open_pool(cluster=farm.cluster),
        ):
            pass
        with (
            dask.config.set(dict.fromkeys(names, str(tmp_path / "none.pem"))),
            pytest.raises(WorkerFailed, match=r"names cannot be used \(.*No such file"),
            open_pool(cluster=farm.cluster),
        ):
            pass
        with (
            dask.config.set(dict.fromkeys(names, other)),
            pytest.raises(WorkerFailed, match="TLS certificate does not match"),
            open_pool(cluster=farm.cluster),
        ):
            pass
        with (
            dask.config.set(dict.fromkeys(names, path)),
            open_pool(cluster=farm.cluster, progress=False) as results,
        ):
            assert dict(results({"any": partial(abs, -1)})) == {"any": 1}
