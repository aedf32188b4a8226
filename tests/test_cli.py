"""The command line starts quickly, explains itself and ends with a status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from metalearn_lib.cli import main


def test_the_module_and_the_command_are_one_program() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "metalearn_lib", "notebooks", "--help"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 0
    for option in ("--profile", "--only", "--force", "--jobs", "--root"):
        assert option in result.stdout


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--profile", "fast"], "profile 'fast' is unknown; use quick, standard or full"),
        (["--jobs", "0"], "jobs=0 runs nothing; use 1 or more"),
        (["--root", "nowhere"], "runs.yml cannot be read"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence_and_status_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(Path(__file__).resolve().parents[1])
    assert main(["notebooks", "--root", root, *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_outside_a_repository_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["notebooks"]) == 2
    assert "there is no notebooks/runs.yml" in capsys.readouterr().err
