import dataclasses
import subprocess
import sys

import pytest
import torch

from metalearn_lib import cli
from metalearn_lib.cards import load_theta
from metalearn_lib.cli.settings import settings
from metalearn_lib.meta_train import MetaTrainConfig

TINY = ["--num-tasks", "2", "--horizon", "4", "--batch-size", "16", "--outer-steps", "2", "--workers", "1"]


def test_train_writes_a_file_that_train_like_gives_again(tmp_path, capsys):
    first, again = str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")
    assert cli.main(["train", "--out", first, "--seeds", "2", *TINY]) == 0
    assert "meta-seed" in capsys.readouterr().out
    assert cli.main(["train", "--out", again, "--like", first, "--workers", "1"]) == 0
    assert torch.equal(load_theta(first)[0], load_theta(again)[0])
    assert load_theta(first)[1] == load_theta(again)[1]


def test_every_setting_of_the_config_is_a_flag():
    fields = {field.name: field.type for field in dataclasses.fields(MetaTrainConfig)}
    plain = {name: kind.split(" |")[0].split("[")[0] for name, kind in fields.items()}
    assert {each.name: each.kind.__name__ for each in settings()} == plain


def test_the_help_says_of_every_setting_what_the_config_says_and_waits_for_no_torch():
    program = "import sys; from metalearn_lib.cli import main; main(['train', '--help'])"
    command = f"try:\n    {program}\nfinally:\n    assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    told = " ".join(result.stdout.split())
    assert (
        "--outer-lr FLOAT Adam's rate on theta at the start; it falls to a twentieth along a cosine" in told
    )
    assert all(f"--{each.name.replace('_', '-')}" in told for each in settings())


def test_train_takes_up_a_run_where_it_was_left(tmp_path, capsys):
    out = str(tmp_path / "a.safetensors")
    estimator = [
        "--estimator",
        "pes",
        "--truncation-length",
        "2",
        "--families",
        "home",
        "scale",
        "--vary-setup",
    ]
    assert cli.main(["train", "--out", out, *TINY, *estimator]) == 0
    theta = load_theta(out)[0]
    assert cli.main(["train", "--out", out, *TINY, *estimator]) == 2
    assert "exists and would be overwritten" in capsys.readouterr().err
    assert cli.main(["train", "--out", out, "--resume", *TINY, *estimator]) == 0
    assert torch.equal(load_theta(out)[0], theta)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--horizon", "1"], "horizon=1 leaves no improvement"),
        (["--seeds", "0"], "num_seeds=0"),
        (["--like", "nothing"], "'nothing' is neither a file nor a shipped"),
    ],
)
def test_a_bad_setting_ends_with_one_sentence_and_status_2(tmp_path, capsys, arguments, message):
    assert cli.main(["train", "--out", str(tmp_path / "x.safetensors"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_training_would_overwrite_or_could_not_write_is_refused_before_it_trains(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.safetensors").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_text("")
    for out, message in {
        "/dev/full": "'/dev/full' does not end in .safetensors; name it e.g. full.safetensors",
        "": "'' does not end in .safetensors; name it e.g. out.safetensors",
        "notes.safetensors": "notes.safetensors is no trained meta-optimizer",
        "folder.safetensors": "'folder.safetensors' is there and is no file; name another",
        "file/a.safetensors": "'file/a.safetensors' cannot be written",
        f"{'a' * 300}.safetensors": "cannot be written (File name too long); name another place",
    }.items():
        assert cli.main(["train", "--out", out, *TINY]) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "notes.safetensors").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "file",
        "folder.safetensors",
        "notes.safetensors",
    ]


def test_a_meta_seed_that_fails_ends_the_others_even_where_one_waits_with_the_lock_of_the_queue(tmp_path):
    runs = tmp_path / "runs"
    (runs / "seed-1.jsonl").mkdir(parents=True)  # where a log is to be written
    tiny = [
        "--num-tasks",
        "8",
        "--horizon",
        "64",
        "--tasks-per-chunk",
        "2",
        "--outer-steps",
        "2000",
        "--seeds",
        "2",
    ]
    out = ["--out", str(tmp_path / "a.safetensors"), "--runs", str(runs), "--workers", "2"]
    command = [sys.executable, "-m", "metalearn_lib", "train", *tiny, *out]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stderr.count("Traceback")) == (1, 0)
    assert "seed-1.jsonl cannot be written (Is a directory); make room" in ended.stderr
    assert "leaked" not in ended.stderr
