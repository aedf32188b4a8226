"""The runner executes what is stale, leaves alone what is fresh, and never leaves half a result."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_project import Project, notebook

from metalearn_lib.report.runs import RunsError, is_fresh, read_runs

EXPERIMENT = notebook(
    "# An experiment",
    "#: parameters\nspeed = 1.5  # steps per second\nlabel = 'a'",
    "import sys, os\nprint(sys.executable, os.environ['OMP_NUM_THREADS'])\nprint({'b', 'a', label})",
    "from myst_nb import glue\nglue('doubled', 2 * speed, display=False)",
    "import ipywidgets\nipywidgets.IntSlider()",
    "import matplotlib.pyplot as plt\nfrom matplotlib_inline.backend_inline import set_matplotlib_formats\n"
    "set_matplotlib_formats('svg')\nfigure, ax = plt.subplots()\nax.plot([0, 1], [0, speed], marker='o')\n"
    "glue('curve', figure, display=False)\nplt.close(figure)",
)
PLAIN = notebook(
    "# An experiment",
    "#: parameters\nspeed = 1.5",
    "from IPython.display import display\n"
    "record = {'scrapbook': {'name': 'curve', 'mime_prefix': ''}}\n"
    "display({'image/svg+xml': f'<svg>{speed}</svg>'}, raw=True, metadata=record)",
)  # with a figure, and without what takes seconds to import
WAITS = notebook(
    "#: parameters\nseconds = 0",
    "import os, pathlib, time\npathlib.Path('kernel.pid').write_text(str(os.getpid()))\ntime.sleep(seconds)",
)
FAILS = notebook("# Title", "ratio = 1", "nothing = 0\nratio / nothing", "never = 1")


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"source": f"{name}.ipynb", "output": name} | more


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("built")
    project = Project.new(root, entry("experiment", quick={"speed": 3.0}), experiment=EXPERIMENT)
    result = project.run("--profile", "quick")
    assert result.returncode == 0, result.stderr
    return project


@pytest.fixture
def built(built_once: Project, tmp_path: Path) -> Project:
    """A project whose one experiment has been run."""
    return built_once.copy(tmp_path / "project")


def wait_for(condition: Callable[[], object]) -> None:
    """What never happens ends with the time that a test may take."""
    while not condition():
        time.sleep(0.05)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    if status.parent.parent.joinpath("self").exists():
        return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"
    return subprocess.run(["ps", "-p", str(pid)], capture_output=True).returncode == 0


def kernel_pid(project: Project) -> int:
    path = project.root / "notebooks" / "kernel.pid"
    wait_for(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def test_nothing_changed_means_nothing_runs_and_a_forced_run_gives_the_same_bytes(built: Project) -> None:
    before = built.outputs()
    assert before.keys() == {"experiment.ipynb", "experiment.curve.svg"}

    unchanged = built.run("--profile", "quick")
    assert unchanged.stdout == "nothing has changed in experiment\n"
    assert built.outputs() == before

    forced = built.run("--profile", "quick", "--force")
    assert forced.stdout == "ran experiment\n"
    after = built.outputs()
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    assert after != before, "the files were not written again"


def test_an_executed_notebook_tells_what_was_run_and_not_when_or_where(built: Project) -> None:
    text = built.output("experiment").read_text()
    executed = json.loads(text)
    by_kernel = "".join(executed["cells"][3]["outputs"][0]["text"])
    assert by_kernel.splitlines()[0].split()[1] == "1", "one thread for each notebook"
    assert "speed = 3.0" in "".join(executed["cells"][2]["source"])
    assert executed["metadata"]["metalearn"]["figures"] == ["experiment.curve.svg"]
    for volatile in ("start_time", "duration", "input_path", "iopub", str(built.root)):
        assert volatile not in text


@pytest.fixture(scope="module")
def plain_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.new(tmp_path_factory.mktemp("plain"), entry("experiment"), experiment=PLAIN)
    result = project.run("--profile", "quick")
    assert result.returncode == 0, result.stderr
    assert project.outputs().keys() == {"experiment.ipynb", "experiment.curve.svg"}
    return project


def edit_library(project: Project) -> None:
    (project.root / "metalearn_lib" / "weights.safetensors").write_bytes(b"1")


def edit_parameter(project: Project) -> None:
    project.declare(entry("experiment", quick={"speed": 4.0}))


def edit_text(project: Project) -> None:
    source = project.root / "notebooks" / "experiment.ipynb"
    source.write_text(source.read_text().replace("An experiment", "The experiment"))


def edit_tag(project: Project) -> None:
    source = project.root / "notebooks" / "experiment.ipynb"
    source.write_text(source.read_text().replace('"tags": []', '"tags": ["hide-input"]', 1))


def tear_output(project: Project) -> None:
    content = project.output("experiment").read_bytes()
    project.output("experiment").write_bytes(content[: len(content) // 2])


def lose_figure(project: Project) -> None:
    (project.output("experiment").parent / "figures" / "experiment.curve.svg").unlink()


def edit_output(project: Project) -> None:
    output = project.output("experiment")
    output.write_text(output.read_text().replace("<svg>", "<svg >"))


def edit_figure(project: Project) -> None:
    figure = project.output("experiment").parent / "figures" / "experiment.curve.svg"
    figure.write_text(figure.read_text().replace("svg", "gvs"))


@pytest.mark.parametrize(
    "change", [tear_output, edit_output, lose_figure, edit_figure], ids=lambda f: f.__name__
)
def test_what_is_not_as_it_was_written_is_stale(
    plain_once: Project, tmp_path: Path, change: Callable[[Project], None]
) -> None:
    plain = plain_once.copy(tmp_path / "project")
    (run,) = read_runs(plain.root, "quick")
    key = json.loads(run.output.read_text())["metadata"]["metalearn"]["key"]
    assert is_fresh(run, key)
    assert not is_fresh(run, "another")
    change(plain)
    assert not is_fresh(run, key)


@pytest.mark.parametrize(
    "change",
    [edit_library, edit_parameter, edit_text, edit_tag],
    ids=lambda f: f.__name__,
)
def test_whatever_a_page_depends_on_makes_it_stale(
    plain_once: Project, tmp_path: Path, change: Callable[[Project], None]
) -> None:
    plain = plain_once.copy(tmp_path / "project")
    change(plain)
    assert plain.run("--profile", "quick").stdout == "ran experiment\n"
    assert plain.run("--profile", "quick").stdout == "nothing has changed in experiment\n"


def test_a_failing_cell_is_named_with_its_traceback_and_the_old_result_stays(tmp_path: Path) -> None:
    project = Project.new(tmp_path, other=WAITS, broken=FAILS)
    project.output("broken").parent.mkdir(parents=True)
    project.output("broken").write_text("the old result")

    result = project.run("--jobs", "2")
    assert result.returncode == 1
    assert "broken.ipynb, cell 3 (nothing = 0) failed" in result.stderr
    assert "----> 2 ratio / nothing" in result.stderr
    assert "ZeroDivisionError: division by zero" in result.stderr
    assert "\x1b" not in result.stderr
    assert "Traceback" not in result.stderr.partition("ZeroDivisionError")[0], (
        "only the notebook's own traceback"
    )
    assert project.output("broken").read_text() == "the old result"
    assert project.output("other").exists(), f"what was going has not finished:\n{result.stderr}"


def test_a_kernel_that_dies_fails_its_notebook(tmp_path: Path) -> None:
    project = Project.new(tmp_path, dies=notebook("import os", "os._exit(3)"))
    result = project.run()
    assert result.returncode == 1
    assert "dies.ipynb, cell 2 (os._exit(3)) could not be run: DeadKernelError" in result.stderr
    assert not project.output("dies").exists()


def test_a_killed_run_leaves_the_old_result_no_kernel_and_a_way_on(tmp_path: Path) -> None:
    project = Project.new(tmp_path, waits=WAITS)
    assert project.run().returncode == 0
    before = project.outputs()
    (project.root / "notebooks" / "kernel.pid").unlink()
    project.declare(entry("waits", parameters={"seconds": 60}))

    process = project.start("-m", "metalearn_lib", "notebooks")
    kernel = kernel_pid(project)
    process.kill()
    process.communicate()
    wait_for(lambda: not alive(kernel))
    assert project.outputs() == before

    project.declare(entry("waits", parameters={"seconds": 0.1}))
    assert project.run().stdout == "ran waits\n"
    assert project.outputs().keys() == before.keys()


def test_an_interrupted_run_ends_at_once_without_traceback_or_kernel(tmp_path: Path) -> None:
    project = Project.new(tmp_path, entry("waits", parameters={"seconds": 60}), waits=WAITS)
    process = project.start("-m", "metalearn_lib", "notebooks")
    kernel = kernel_pid(project)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    wait_for(lambda: not alive(kernel))
    assert project.outputs() == {}


def test_two_builds_at_once_leave_one_whole_result(tmp_path: Path) -> None:
    project = Project.new(tmp_path, entry("waits", parameters={"seconds": 1}), waits=WAITS)
    processes = [project.start("-m", "metalearn_lib", "notebooks") for _ in range(2)]
    for process in processes:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
    assert project.outputs().keys() == {"waits.ipynb"}
    assert project.run().stdout == "nothing has changed in waits\n"


def test_a_parameter_that_the_notebook_does_not_declare_is_refused(tmp_path: Path) -> None:
    project = Project.new(tmp_path, entry("waits", parameters={"secnods": 1}), waits=WAITS)
    result = project.run()
    assert result.returncode == 1
    assert "no parameter 'secnods'" in result.stderr
    assert "did you mean 'seconds'?" in result.stderr
    assert not project.output("waits").exists()


def test_the_kernel_is_this_python_whatever_kernels_are_installed(tmp_path: Path) -> None:
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "wrong", "language": "python"}))
    project = Project.new(tmp_path / "project", waits=WAITS)
    result = project.run(JUPYTER_PATH=str(tmp_path / "jupyter"), HOME=str(tmp_path / "home"))
    assert result.returncode == 0, result.stderr


def test_the_named_runs_alone_are_run(tmp_path: Path) -> None:
    project = Project.new(tmp_path, one=WAITS, two=WAITS)
    assert project.run("--only", "two").stdout == "ran two\n"
    assert not project.output("one").exists()
    unknown = project.run("--only", "three")
    assert unknown.returncode == 2
    assert unknown.stderr == "metalearn: no run is called 'three'; there are one, two\n"


def test_finding_nothing_to_do_imports_nothing_heavy(built: Project) -> None:
    program = (
        "import sys\n"
        "from metalearn_lib.cli import main\n"
        "assert main(['notebooks', '--profile', 'quick']) == 0\n"
        "print({'torch', 'matplotlib', 'papermill', 'nbformat', 'sphinx', 'IPython'} & sys.modules.keys())\n"
    )
    (built.root / "probe.py").write_text(program)
    result = built.call("probe.py")
    assert result.stdout == "nothing has changed in experiment\nset()\n"


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([], "must be a list of runs"),
        ({"source": "a.ipynb"}, "must be a list of runs"),
        (["a.ipynb"], "must have `source` and `output`"),
        ([{"source": "a.ipynb"}], "must have `source` and `output`"),
        ([{"source": "b.ipynb", "output": "b"}], "source 'b.ipynb' is not a file"),
        ([{"source": "a.ipynb", "output": "../a"}], "must be a bare name"),
        ([{"source": "a.ipynb", "output": "a", "fast": {}}], "key 'fast' is unknown"),
        ([{"source": "a.ipynb", "output": "a", "quick": [1]}], "quick must map names to values"),
        ([{"source": "a.ipynb", "output": "a"}] * 2, "written by two runs"),
    ],
)
def test_a_runs_file_that_cannot_be_followed_is_refused_with_a_sentence(
    tmp_path: Path, runs: Any, told: str
) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").write_text(WAITS)
    (tmp_path / "notebooks" / "runs.yml").write_text(yaml.safe_dump(runs))
    with pytest.raises(RunsError, match=told):
        read_runs(tmp_path, "quick")


def test_a_profile_overrides_the_parameters_of_all_profiles(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "a.ipynb").write_text(WAITS)
    run = entry("a", parameters={"x": 1, "y": 1}, quick={"y": 2})
    (tmp_path / "notebooks" / "runs.yml").write_text(yaml.safe_dump([run]))
    assert read_runs(tmp_path, "quick")[0].parameters == {"x": 1, "y": 2}
    assert read_runs(tmp_path, "full")[0].parameters == {"x": 1, "y": 1}


def test_the_process_environment_of_the_caller_is_left_alone(plain_once: Project, tmp_path: Path) -> None:
    program = (
        "import os, pathlib\n"
        "before = dict(os.environ), pathlib.Path.cwd()\n"
        "from metalearn_lib.report.runner import run_notebooks\n"
        "report = run_notebooks('.', 'quick', force=True, progress=False)\n"
        "assert report.ran == ('experiment',)\n"
        "assert (dict(os.environ), pathlib.Path.cwd()) == before\n"
    )
    plain = plain_once.copy(tmp_path / "project")
    (plain.root / "probe.py").write_text(program)
    result = plain.call("probe.py")
    assert (result.returncode, result.stderr) == (0, "")
