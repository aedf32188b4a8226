"""Processes that end with the one that started them, and say in a sentence why they ended."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from metalearn_lib.cores import WorkerFailed, process_pool
from metalearn_lib.pools import in_this_process, open_pool

POOL = "from metalearn_lib.cores import process_pool\nwith process_pool(2) as pool:\n    pool.submit(abs, -1).result()"
TRAINS = (
    "from metalearn_lib.meta_train import MetaTrainConfig, meta_train\n"
    "config = MetaTrainConfig(num_tasks=4, tasks_per_chunk=2, horizon=6, batch_size=16, outer_steps=3)\n"
    "meta_train(config, workers=2, progress=False)"
)


@pytest.mark.parametrize("script", [POOL, TRAINS])
def test_a_script_that_does_not_guard_its_start_is_told_so_at_once(script, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(script)
    ended = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert 'must do so under `if __name__ == "__main__":`' in ended.stderr.splitlines()[-1]
    assert ended.stderr.count("Traceback") == 1


def sleeping(then):
    """Two calls that take for ever, and what happens `then`."""
    with process_pool(2) as pool:
        waiting = [pool.submit(time.sleep, 600) for _ in range(2)]
        then()
        waiting[0].result()


def kill_one():
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_pool_has_as_many_processes_as_it_is_told_but_no_more_than_calls():
    with open_pool(3) as results:
        assert len(multiprocessing.active_children()) == 3
        assert dict(results({number: partial(abs, -number) for number in range(4)})) == {
            0: 0,
            1: 1,
            2: 2,
            3: 3,
        }
    with open_pool(3, calls=1) as results:
        assert not multiprocessing.active_children()
        assert results is in_this_process


@pytest.mark.parametrize(
    ("then", "error", "told"),
    [
        (kill_one, WorkerFailed, "a worker process was killed, .*; what was kept stays"),
        (interrupt, KeyboardInterrupt, "^$"),
    ],
)
def test_whatever_ends_a_pool_ends_its_processes(then, error, told):
    with pytest.raises(error, match=told):
        sleeping(then)
    while multiprocessing.active_children():  # what never ends does so with the time that a test may take
        time.sleep(0.05)
