"""A sweep runs every setting once, goes on past those that fail, and its files depend on nothing but the request."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import yaml
from report_project import REPOSITORY, Project, notebook
from test_report_runner import alive, kernel_pid, wait_for

from metalearn_lib.cli import main
from metalearn_lib.plots.sweep import swept
from metalearn_lib.report.runs import RunsError
from metalearn_lib.report.sweep import glued, read_grid, read_values, refusals, settings_of, sweep

CHECK = (
    "from metalearn_lib.report.parameters import Integer, OneOf, check_parameters\n"
    "check_parameters(globals(), speed=Integer(0, 9), kind=OneOf('a', 'b'), seconds=Integer(0, 99))"
)
FOUND = """from IPython.display import display
def glue(name, data):
    display(data, raw=True, metadata={'scrapbook': {'name': name, 'mime_prefix': ''}})
glue('twice', {'text/plain': repr(2 * speed)})
glue('gained', {'text/plain': repr(f'{speed:.2f} [{speed - .5:.2f}, {speed + 1:.2f}]')})
glue('verdict', {'text/plain': repr('undecided')})
glue('curve', {'image/svg+xml': f'<svg xmlns="http://www.w3.org/2000/svg"><text>{kind}{speed}</text></svg>'})
"""
SWEPT = notebook(
    "#: parameters\nspeed = 1\nkind = 'a'\nseconds = 0",
    CHECK,
    "import os, pathlib, time\npathlib.Path('kernel.pid').write_text(str(os.getpid()))\ntime.sleep(seconds)",
    "assert speed != 3, 'three is too fast'",
    FOUND,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "swept.ipynb"
    path.write_text(SWEPT)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "durations.csv"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_setting_is_run_once_and_one_that_is_wrong_or_fails_stops_no_other(
    source: Path, tmp_path: Path
):
    grid = {"speed": [2, 3, -1]}
    first, again = tmp_path / "two", tmp_path / "one"
    ended = sweep(source, grid, first, jobs=2, plots=["gained"], progress=False)
    assert ended.ran == ("speed=2",)
    assert list(ended.faults) == ["speed=-1", "speed=3"]
    assert "speed must lie in [0, 9]" in ended.faults["speed=-1"]
    assert "three is too fast" in ended.faults["speed=3"]
    table = pd.read_parquet(first / "sweep.parquet").set_index("setting")
    assert table.status.to_dict() == {
        "speed=2": "done",
        "speed=3": "failed",
        "speed=-1": "refused",
    }
    assert table.loc["speed=2", ["speed", "twice", "gained", "gained low", "gained high"]].tolist() == [
        2,
        4,
        2,
        1.5,
        3,
    ]
    assert "verdict" not in table
    page = (first / "index.html").read_text()
    assert "1 done, 1 failed, 1 refused" in page
    assert "three is too fast" in page
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 1 + 1 + 1  # the number, the notebook, its curve
    assert all((first / file.replace("%3D", "=")).is_file() for file in files)

    sweep(source, grid, again, jobs=1, plots=["gained"], progress=False)
    assert contents(again) == contents(first)

    narrower = sweep(source, {"speed": [2]}, first, progress=False)
    assert (narrower.ran, narrower.fresh) == ((), ("speed=2",))
    kept = pd.read_parquet(first / "sweep.parquet")
    assert kept.setting.tolist() == ["speed=2", "speed=3", "speed=-1"]
    assert kept.twice.tolist()[0] == 4


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path: Path):
    project = Project.new(tmp_path / "project", swept=SWEPT)
    command = ["-m", "metalearn_lib", "sweep", "notebooks/swept.ipynb", "-p", "seconds=0,99", "--out", "made"]
    process = project.start(*command, "--jobs", "1")
    made = project.root / "made"
    wait_for((made / "seconds=0.ipynb").is_file)
    (project.root / "notebooks" / "kernel.pid").unlink()
    pid = kernel_pid(project)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in told
    wait_for(lambda: not alive(pid))
    table = pd.read_parquet(made / "sweep.parquet").set_index("setting")
    assert table.status.to_dict() == {"seconds=0": "done", "seconds=99": "not run"}
    assert "1 done, 1 not run" in (made / "index.html").read_text()
    command[command.index("seconds=0,99")] = "seconds=0"
    assert "0 ran, 1 had been done" in project.call(*command).stdout


def test_settings_are_all_combinations_in_a_fixed_order_and_names_are_files():
    grid = {"kind": ["a", "b"], "shift": [1, 2.5]}
    assert [each.name for each in settings_of(grid)] == [
        "kind=a,shift=1",
        "kind=a,shift=2.5",
        "kind=b,shift=1",
        "kind=b,shift=2.5",
    ]
    odd = settings_of({"cells": [["task A", "wine"], ["../../etc"], ["x" * 300]]})
    assert all(re.fullmatch(r"[\w=,.+-]{1,110}", each.name) and "/" not in each.name for each in odd)
    assert len({each.name for each in odd}) == 3
    with pytest.raises(RunsError, match="shift=1 comes twice; name each value once"):
        settings_of({"shift": [1, 1]})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("shift=1,2.5,1e-3", [1, 2.5, 1e-3]),
        ("kind=a, b", ["a", "b"]),
        ("cells=[task A, wine],[wine]", [["task A", "wine"], ["wine"]]),
        ("on=true", [True]),
        ("name=inf", ["inf"]),
    ],
)
def test_values_are_read_as_yaml_has_them(text: str, values: list):
    assert read_values(text) == (text.partition("=")[0], values)


@pytest.mark.parametrize("text", ["shift", "shift=", "=1", "shift=[1", "2x=1"])
def test_what_gives_no_values_is_refused(text: str):
    with pytest.raises(RunsError, match=r"gives no parameter its values; write e\.g\. shift=1,2,4"):
        read_values(text)


def test_parameters_may_come_from_a_file(tmp_path: Path):
    path = tmp_path / "grid.yml"
    path.write_text("speed: [1, 1e-3]\nkind: [a]\n")
    assert read_grid(path) == {"speed": [1, 1e-3], "kind": ["a"]}
    for wrong in ("speed: 1", "- speed", "speed: []", "speed: ["):
        path.write_text(wrong)
        with pytest.raises(RunsError, match=r"must map each parameter to a list|cannot be read"):
            read_grid(path)


def test_the_notebooks_own_check_is_asked_about_every_setting_before_any_runs(source: Path):
    settings = settings_of({"speed": [1, 2.5], "kind": ["a", "c"]})
    found = refusals(source, settings)
    assert list(found) == ["speed=1,kind=c", "speed=2.5,kind=a", "speed=2.5,kind=c"]
    assert "pass e.g. -p kind" in found["speed=1,kind=c"]
    assert len(found["speed=2.5,kind=c"].splitlines()) == 2  # a sentence to each fault
    assert not (source.parent / "kernel.pid").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-p", "spede=1"], "no parameter 'spede' in its `parameters` cell; there are speed, kind, seconds"),
        ([], "nothing varies; give a parameter its values"),
        (
            ["-p", "speed=1", "-p", "speed=2"],
            "speed is given twice; name all its values at once: -p speed=a,b,c",
        ),
        (["-p", "speed=1", "--plot", "twice"], "no parameter varies, and a figure has one or two"),
        (["-p", "speed=1", "--jobs", "0"], "jobs=0 runs nothing; use 1 or more"),
        (["-p", "speed=1", "--out", "."], "is there and is no folder of a sweep; name a new one with --out"),
        (["-p", "speed=1", "--parameters", "none.yml"], "none.yml cannot be read"),
    ],
)
def test_a_wrong_request_ends_with_a_sentence_before_anything_runs(
    arguments: list[str], told: str, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    monkeypatch.chdir(source.parent)
    out = [] if "--out" in arguments else ["--out", "made"]
    assert main(["sweep", source.name, *arguments, *out]) == 2
    assert told in capsys.readouterr().err
    assert not (source.parent / "made").exists()


def test_a_folder_of_another_notebooks_sweep_is_refused(source: Path, tmp_path: Path):
    pd.DataFrame({"setting": ["x"]}).to_parquet(tmp_path / "sweep.parquet")
    with pytest.raises(RunsError, match="holds a sweep of nothing, and not of swept"):
        sweep(source, {"speed": [1]}, tmp_path, progress=False)


def test_numbers_are_read_as_they_were_glued(tmp_path: Path):
    printed = {
        "a": "1.5",
        "b": "np.float64(-2.0)",
        "c": "'1.20 [-0.50, 3.00]'",
        "d": "nan",
        "e": "True",
        "f": "<x>",
    }
    text = notebook("1").replace(
        '"outputs": []',
        '"outputs": ['
        + ",".join(
            f'{{"output_type": "display_data", "data": {{"p/text/plain": "{told}"}},'
            f' "metadata": {{"scrapbook": {{"name": "{name}", "mime_prefix": "p/"}}}}}}'
            for name, told in printed.items()
        )
        + "]",
    )
    (tmp_path / "n.ipynb").write_text(text)
    found = glued(tmp_path / "n.ipynb")
    assert found.pop("d") != found.get("d")
    assert found == {"a": 1.5, "b": -2.0, "c": 1.2, "c low": -0.5, "c high": 3.0}


def test_a_number_is_drawn_over_one_parameter_or_two_with_its_interval():
    rows = [
        {"kind": kind, "speed": speed, "n": speed + len(kind), "n low": speed, "n high": speed + 3.0}
        for speed in (1.0, 100.0)
        for kind in ("a", "bc")
    ]
    ax = swept([*rows, {"kind": "a", "speed": 3.0}], "n", ["kind", "speed"])
    assert ax.get_xlabel() == "speed"
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["kind = a", "kind = bc"]
    line, _, (bars,) = ax.containers[1]
    assert line.get_xydata().tolist() == [[1, 3], [100, 102]]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[1, 4], [100, 103]]
    of_names = swept(rows[:2], "n", ["kind"])
    assert [tick.get_text() for tick in of_names.get_xticklabels()] == ["a", "bc"]
    plt.close("all")


def test_the_workflow_of_the_page_runs_as_it_stands(tmp_path: Path):
    page = (REPOSITORY / "book" / "sweep_howto.md").read_text(encoding="utf-8")
    workflow = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    script = next(
        step["run"] for step in workflow["jobs"]["sweep"]["steps"] if "sweep" in step.get("run", "")
    )
    small = notebook(
        "#: parameters\nshift_family = 'scale'\nshift = 4.0\nnum_instances = 128",
        "from IPython.display import display\n"
        "display({'text/plain': repr(f'{shift:.2f} [{shift - 1:.2f}, {shift + 1:.2f}]')}, raw=True,\n"
        "        metadata={'scrapbook': {'name': 'b_meta', 'mime_prefix': ''}})",
    )
    project = Project.new(tmp_path / "project", task_shift=small)
    python = f'python() {{ "{sys.executable}" "$@"; }}\n'
    environment = os.environ | {"PYTHONPATH": str(project.root)}
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", python + script],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "shift_family=translate,shift=4,num_instances=16" in ended.stdout
    assert (project.root / "sweeps" / "shift" / "b_meta.svg").is_file()
