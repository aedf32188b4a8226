"""Files are whole or absent, hold what was written, and are refused in a sentence where they cannot be."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metalearn_lib.cli import main
from metalearn_lib.evaluate.store import StoreError, Table
from metalearn_lib.files import atomic_path, check_folder, files_digest, read_parquet, write_parquet
from metalearn_lib.report.runner import run_notebooks
from metalearn_lib.report.runs import RunsError

TABLE = pa.table(
    {"key": ["a", "b"], "lr": [0.5, float("nan")], "curve": [[1.0], []]}
).replace_schema_metadata({"of": "x"})


def test_a_table_is_read_as_it_was_written_and_its_bytes_depend_on_nothing_else(tmp_path: Path):
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    for path in (first, second):
        write_parquet(path, TABLE)
    assert first.read_bytes() == second.read_bytes()
    read = read_parquet(second)
    assert read.schema.metadata == TABLE.schema.metadata
    assert repr(read.to_pydict()) == repr(TABLE.to_pydict())
    assert pq.read_table(second).column_names == TABLE.column_names, "others can read it, too"


def test_a_table_of_which_any_byte_was_changed_is_refused_or_as_it_was(tmp_path: Path):
    path = tmp_path / "table.parquet"
    write_parquet(path, TABLE)
    whole, before, refused = path.read_bytes(), repr(TABLE.to_pydict()), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            read = read_parquet(path)
        except ValueError:
            refused += 1
        else:
            assert (repr(read.to_pydict()), read.schema.metadata) == (before, {b"of": b"x"})
    assert refused > 0.95 * len(whole)


def test_a_table_of_another_program_is_read_as_it_is(tmp_path: Path):
    pq.write_table(TABLE, tmp_path / "a.parquet")
    assert repr(read_parquet(tmp_path / "a.parquet").to_pydict()) == repr(TABLE.to_pydict())
    (tmp_path / "b.parquet").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"(?i)parquet"):
        read_parquet(tmp_path / "b.parquet")


def test_who_made_a_kept_row_cannot_be_changed_unseen(tmp_path: Path):
    kept = Path(__file__).parents[1] / "results" / "wrong_rates.parquet"
    whole = kept.read_bytes()
    made = Table(kept).table["made"][0].as_py().encode()
    path, place = (
        tmp_path / "kept.parquet",
        whole.index(made[:11]),
    )  # where the text itself lies, uncompressed or not
    path.write_bytes(whole[: place + 6] + b"9" + whole[place + 7 :])
    with pytest.raises(StoreError, match=r"kept\.parquet is damaged"):
        Table(path)


def test_a_write_that_fails_names_the_file_and_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    writing = atomic_path(path)
    writing.__enter__().write_text("half")
    full = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left") as fault:
        writing.__exit__(OSError, full, None)
    assert (fault.value.filename, path.read_text()) == (str(path), "before")
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_killed_process_left_half_written_goes_with_the_next_write(tmp_path: Path):
    script = (
        "import os; from metalearn_lib.files import atomic_path\n"
        "with atomic_path('a.txt') as partial:\n    partial.write_text('half')\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path)
    (left,) = tmp_path.iterdir()
    alive = left.with_name(re.sub(r"\d+(?=\.partial)", str(os.getppid()), left.name))
    elsewhere = left.with_name(left.name.replace("a.txt.", "a.txt.another-"))
    for path in (alive, elsewhere):
        path.touch()
    with atomic_path(tmp_path / "a.txt") as partial:
        partial.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", alive.name, elsewhere.name}


def test_a_disk_that_is_full_is_told_in_one_line_and_what_is_there_stays(tmp_path: Path):
    command = "evaluate --rivals sgd --instances 2 --tuning 2 --workers 1 --out a.parquet"
    ended = subprocess.run(
        [sys.executable, "-m", "metalearn_lib", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    told = r"metalearn: a\.parquet\.parts/\S+ cannot be written \(File too large\); make room, or name another place\."
    assert re.search(told, ended.stderr), ended.stderr
    assert (ended.returncode, ended.stderr.count("Traceback")) == (1, 0)
    assert not list(tmp_path.rglob("*.partial"))
    assert list((tmp_path / "a.parquet.parts").glob("*.json")), "small answers had been kept"


def test_a_folder_that_cannot_be_written_in_is_refused_before_the_work(tmp_path: Path, capsys):
    check_folder(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/below' cannot be written in \(Not a directory\)"):
        check_folder(tmp_path / "file" / "below")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "experiments").touch()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "runs.yml").write_text("- {source: a.ipynb, output: a}")
    (tmp_path / "notebooks" / "a.ipynb").write_text('{"cells": []}')
    with pytest.raises(RunsError, match=r"book/experiments' cannot be written in \(File exists\)"):
        run_notebooks(tmp_path, "quick")
    train = ["train", "--outer-steps", "1", "--num-tasks", "2", "--tasks-per-chunk", "2", "--horizon", "2"]
    assert main([*train, "--out", str(tmp_path / "a.safetensors"), "--runs", str(tmp_path / "file")]) == 1
    assert "file cannot be written (File exists); make room" in capsys.readouterr().err


def test_a_digest_of_folders_follows_names_and_contents_and_not_places(tmp_path: Path):
    for name in ("here", "there"):
        (tmp_path / name / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "a").write_text("1")
        (tmp_path / name / "__pycache__" / name).touch()
    assert files_digest(tmp_path / "here") == files_digest(tmp_path / "there")
    (tmp_path / "there" / "a").write_text("2")
    assert files_digest(tmp_path / "here") != files_digest(tmp_path / "there")
