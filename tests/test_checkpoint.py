"""A run that is killed, interrupted or handed a bad checkpoint."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from metalearn_lib.meta_train import (
    CheckpointError,
    MetaTrainConfig,
    MetaTrainingFailed,
    meta_train,
    read_log,
)
from metalearn_lib.meta_train.checkpoint import load_checkpoint, sole_writer

TINY = MetaTrainConfig(num_tasks=4, tasks_per_chunk=2, horizon=6, batch_size=16, outer_steps=6)
PERSISTENT = replace(TINY, estimator="pes", truncation_length=2, direction="adam")
VARIED = replace(
    PERSISTENT,
    architectures=("mlp", "layer_norm"),
    losses=("cross_entropy", "squared"),
    vary_setup=True,
    fresh_set_ups=True,
    rescale_decades=0.5,
    horizon=4,
)
BOTH = replace(PERSISTENT, direction="sgd", learned_direction="momentum")

SCRIPT = """
import json, sys
import metalearn_lib.meta_train as m
config, keep = json.loads(sys.argv[1])
try:
    m.meta_train(m.MetaTrainConfig(**config), progress=False, **keep)
except KeyboardInterrupt as stop:
    print(stop, file=sys.stderr)
    sys.exit(130)
"""


def start(config: MetaTrainConfig, **keep) -> subprocess.Popen:
    arguments = json.dumps(
        [
            asdict(config),
            {name: str(value) if isinstance(value, Path) else value for name, value in keep.items()},
        ]
    )
    return subprocess.Popen([sys.executable, "-c", SCRIPT, arguments], stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    """What never comes ends with the process, or with the time that a test may take."""
    while not path.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


@pytest.mark.parametrize(
    "config", [TINY, PERSISTENT, VARIED, BOTH], ids=["es", "pes", "fresh set-ups", "learned direction"]
)
def test_a_run_killed_and_resumed_gives_theta_and_history_bit_for_bit(config, tmp_path):
    config = replace(config, outer_steps=60)
    never_killed = meta_train(config, progress=False)
    checkpoint, log = tmp_path / "run.safetensors", tmp_path / "run.jsonl"
    process = start(replace(config), checkpoint=checkpoint, every=1, log=log)
    wait_for(checkpoint, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    reached = load_checkpoint(checkpoint)[1]["outer_step"]
    assert 1 <= reached < 60
    resumed = meta_train(config, progress=False, checkpoint=checkpoint, resume=True, log=log)
    assert torch.equal(resumed.theta, never_killed.theta)
    assert resumed.history == never_killed.history
    assert resumed.card == never_killed.card
    told = read_log(log)
    assert told["outer_step"] == list(range(60))
    assert told["meta_loss"] == never_killed.history["meta_loss"]


def test_ctrl_c_saves_and_exits_cleanly_and_the_run_goes_on_as_if_nothing_had_been(tmp_path):
    config = replace(TINY, outer_steps=100_000)  # more than anyone waits for
    checkpoint, log = tmp_path / "run.safetensors", tmp_path / "run.jsonl"
    process = start(config, checkpoint=checkpoint, every=1000, log=log)
    wait_for(log, process)
    while not read_log(log):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "resume from" in errors
    assert "Traceback" not in errors
    tensors, facts = load_checkpoint(checkpoint)
    assert 0 < facts["outer_step"] < 100_000
    assert len(facts["history"]["meta_loss"]) == facts["outer_step"]
    assert tensors["theta"].isfinite().all()


def test_a_finished_run_that_is_resumed_gives_its_theta_without_another_step(tmp_path):
    first = meta_train(TINY, progress=False, checkpoint=tmp_path / "run")
    again = meta_train(TINY, progress=False, checkpoint=tmp_path / "run", resume=True)
    assert torch.equal(first.theta, again.theta)
    assert first.card == again.card


def test_a_checkpoint_is_not_overwritten_unless_it_is_resumed(tmp_path):
    path = tmp_path / "run"
    meta_train(TINY, progress=False, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(
        CheckpointError, match="run exists and would be overwritten; resume from it, or name another"
    ):
        meta_train(TINY, progress=False, checkpoint=path)
    assert path.read_bytes() == before


def spoil(content: bytes, how: str) -> bytes:
    match how:
        case "truncated":
            return content[: len(content) // 2]
        case "a flipped bit":
            return content[:-40] + bytes([content[-40] ^ 1]) + content[-39:]
        case "empty":
            return b""
        case _:
            return b"\x80\x04\x95 a pickle, which must not be opened"


@pytest.mark.parametrize("how", ["truncated", "a flipped bit", "empty", "foreign"])
def test_a_damaged_checkpoint_is_refused_by_name_and_left_alone(how, tmp_path):
    path = tmp_path / "run.safetensors"
    meta_train(TINY, progress=False, checkpoint=path)
    path.write_bytes(spoil(path.read_bytes(), how))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"run\.safetensors is .*damaged.*move it away to start afresh"):
        meta_train(TINY, progress=False, checkpoint=path, resume=True)
    assert path.read_bytes() == before


def test_a_saved_theta_is_no_checkpoint(tmp_path):
    from metalearn_lib.cards import save_theta

    save_theta(tmp_path / "theta", torch.zeros(3), {})
    with pytest.raises(CheckpointError, match="theta is no checkpoint of meta-training"):
        meta_train(TINY, progress=False, checkpoint=tmp_path / "theta", resume=True)


def test_another_runs_checkpoint_is_refused_with_what_differs(tmp_path):
    path = tmp_path / "run"
    meta_train(TINY, progress=False, checkpoint=path)
    with pytest.raises(
        CheckpointError, match=r"another run's: it has seed=0 and not 1, sigma=0.1 and not 0.2"
    ):
        meta_train(replace(TINY, seed=1, sigma=0.2), progress=False, checkpoint=path, resume=True)


def test_resuming_where_nothing_was_kept_yet_starts_the_run(tmp_path):
    fresh = meta_train(TINY, progress=False, checkpoint=tmp_path / "new" / "run", resume=True)
    assert torch.equal(fresh.theta, meta_train(TINY, progress=False).theta)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path):
    """The partial file of a killed writer lies beside the checkpoint, and nothing reads it."""
    path = tmp_path / "run"
    meta_train(replace(TINY), progress=False, checkpoint=path)
    (tmp_path / f".run.{os.getpid() + 1}.partial").write_bytes(b"half of a checkp")
    assert (
        meta_train(TINY, progress=False, checkpoint=path, resume=True).card["gradient_evaluations"]
        == 2 * 4 * 6 * 6
    )


def test_training_stops_with_a_sentence_where_too_many_runs_are_no_numbers():
    config = replace(TINY, base_lr=1e6, base_lr_decades=0.0, horizon=12, max_nonfinite=0.5)
    with pytest.raises(
        MetaTrainingFailed, match=r"8 of 8 runs of outer step 0 .*max_nonfinite=0.5; lower base_lr"
    ):
        meta_train(config, progress=False)


def test_a_log_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path):
    path = tmp_path / "log"
    path.write_text('{"outer_step": 0, "meta_loss": 1.5}\n{"outer_step": 1, "meta_l')
    assert read_log(path) == {"outer_step": [0], "meta_loss": [1.5]}
    assert read_log(tmp_path / "none") == {}


@pytest.mark.parametrize("line", ["[1]", "7", "{}", '{"other": 1}', "{"])
def test_a_log_of_other_things_is_refused(line, tmp_path):
    path = tmp_path / "log"
    path.write_text(f'{{"outer_step": 0, "meta_loss": 1.5}}\n{line}\n')
    with pytest.raises(ValueError, match="is no log of meta-training, or is damaged"):
        read_log(path)


def test_two_processes_never_write_one_run(tmp_path):
    kept = tmp_path / "run.checkpoint"
    first = start(replace(TINY, outer_steps=100_000), checkpoint=kept, every=1, resume=True)
    wait_for(kept, first)
    with pytest.raises(CheckpointError, match="is being written by another process; wait until that"):
        meta_train(replace(TINY, outer_steps=100_000), checkpoint=kept, resume=True, progress=False)
    first.kill()
    first.communicate()
    with sole_writer(kept):  # a process that was killed holds nothing
        pass


def test_a_damaged_log_is_refused_by_name(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("\0\0\n")
    with pytest.raises(ValueError, match=r"log\.jsonl is no log of meta-training, or is damaged"):
        read_log(log)
