"""Real processes that train one theta."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
import torch

from metalearn_lib.meta_train import MetaTrainConfig, WorkerFailed, meta_train
from metalearn_lib.meta_train import workers as engine

CONFIG = MetaTrainConfig(
    num_tasks=7,
    tasks_per_chunk=2,
    horizon=6,
    batch_size=16,
    outer_steps=4,
    families=("home", "scale"),
    vary_setup=True,
    direction="all",
)


@pytest.mark.parametrize(("estimator", "workers"), [("es", 2), ("pes", 2), ("pes", 4)])
def test_several_workers_give_the_theta_of_one_bit_for_bit(estimator, workers):
    config = replace(CONFIG, estimator=estimator, truncation_length=3 if estimator == "pes" else None)
    alone = meta_train(config, progress=False)
    together = meta_train(config, progress=False, workers=workers)
    assert torch.equal(alone.theta, together.theta)
    assert alone.history == together.history
    assert alone.card == together.card


def test_a_checkpoint_of_two_workers_is_resumed_by_one(tmp_path):
    config = replace(CONFIG, estimator="pes", truncation_length=3)
    whole = meta_train(config, progress=False)
    path = tmp_path / "run"

    class Stop(Exception):
        pass

    with pytest.MonkeyPatch.context() as patch:
        save = engine.Group.gather_tensors

        def save_once(group, parts):
            if path.exists():
                raise Stop
            return save(group, parts)

        patch.setattr(engine.Group, "gather_tensors", save_once)
        with pytest.raises(Stop):
            meta_train(config, progress=False, workers=2, checkpoint=path, every=2)
    resumed = meta_train(config, progress=False, checkpoint=path, resume=True)
    assert torch.equal(whole.theta, resumed.theta)


@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_gives_the_theta_of_one_process(nodes, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "from metalearn_lib.meta_train import MetaTrainConfig, meta_train\n"
        "trained = meta_train(MetaTrainConfig(num_tasks=4, tasks_per_chunk=2, horizon=6, batch_size=16,"
        " outer_steps=3), progress=False)\n"
        "torch.save(trained.theta, sys.argv[1] + __import__('os').environ['RANK'])\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = ["--nnodes", str(nodes), "--master_addr", "127.0.0.1", "--master_port", str(port)]
    command = [sys.executable, "-m", "torch.distributed.run", *meeting, f"--nproc_per_node={2 // nodes}"]
    each = [
        subprocess.Popen(
            [*command, "--node_rank", str(node), str(script), str(tmp_path / "theta")],
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(nodes)
    ]
    try:
        for one in each:
            _, told = one.communicate(timeout=300)
            assert one.returncode == 0, told
    finally:
        for one in each:
            one.kill()
    alone = meta_train(
        MetaTrainConfig(num_tasks=4, tasks_per_chunk=2, horizon=6, batch_size=16, outer_steps=3),
        progress=False,
    )
    for rank in "01":
        assert torch.equal(torch.load(tmp_path / f"theta{rank}", weights_only=True), alone.theta)


def fails_at_rank_one(group, *arguments):
    if group.rank == 1:
        raise ArithmeticError("the reason")
    group.gather(torch.zeros(1))


def waits_at_rank_one(group, *arguments):
    time.sleep(600)


def test_a_worker_that_fails_ends_the_run_with_its_traceback():
    with (
        pytest.raises(
            WorkerFailed, match=r"(?s)worker 1 failed.*fails_at_rank_one.*ArithmeticError: the reason"
        ),
        engine.worker_group(2, fails_at_rank_one, ()) as group,
    ):
        fails_at_rank_one(group)


def test_a_worker_that_is_killed_ends_the_run_with_the_signals_name_and_no_hang(monkeypatch):
    import multiprocessing

    monkeypatch.setattr(engine, "_TIMEOUT", timedelta(hours=1))  # longer than a test may take

    def kill():
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    def run():
        with engine.worker_group(2, waits_at_rank_one, ()) as group:
            threading.Timer(0.3, kill).start()
            group.gather(torch.zeros(1))

    with pytest.raises(WorkerFailed, match=r"worker 1 was killed \(SIGKILL\).*resume from its checkpoint"):
        run()


def test_a_failure_of_the_first_worker_is_raised_as_it_is():
    with pytest.raises(ZeroDivisionError), engine.worker_group(2, waits_at_rank_one, ()):
        raise ZeroDivisionError


def test_more_workers_than_chunks_are_refused():
    with pytest.raises(ValueError, match="workers=5 must lie in 1 to 4, the chunks of an outer step"):
        meta_train(CONFIG, workers=5)
