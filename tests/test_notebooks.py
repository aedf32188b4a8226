"""The notebooks of the book, in the quick profile and at ones nobody should choose."""

import ast
import sys
from pathlib import Path

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from metalearn_lib.report.runs import read_runs

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
QUICK = {run.name: run.parameters for run in read_runs(NOTEBOOKS.parent, "quick")}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel that is the Python of these tests, whatever else is installed, and that has run nothing yet."""
    folder = tmp_path_factory.mktemp("jupyter")
    write_kernel_spec(folder / "kernels" / "python3")
    assert sys.executable in (folder / "kernels" / "python3" / "kernel.json").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=NOTEBOOKS)
    yield manager
    manager.shutdown_kernel(now=True)
    manager.context.destroy()


def run(manager: KernelManager, name: str, parameters: dict) -> None:
    """As papermill does, but in a kernel that is forgetful rather than new."""
    notebook = load_notebook_node(str(NOTEBOOKS / f"{name}.ipynb"))
    notebook = parameterize_notebook(notebook, parameters, kernel_name="python3", language="python")
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(notebook, km=manager, timeout=120)
    try:
        client.execute()
    finally:
        client.kc.stop_channels()


def parameters_of(notebook: nbformat.NotebookNode, tag: str) -> dict:
    (cell,) = (cell for cell in notebook.cells if tag in cell.metadata.get("tags", []))
    return {
        statement.targets[0].id: ast.literal_eval(statement.value)
        for statement in ast.parse(cell.source).body
        if isinstance(statement, ast.Assign)
    }


def glued(notebook: nbformat.NotebookNode) -> set[str]:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return {output.metadata.scrapbook.name for output in outputs if "scrapbook" in output.get("metadata", {})}


@pytest.mark.parametrize("name", QUICK)
def test_a_notebook_runs_with_other_parameters_and_glues_all_that_the_book_quotes(name, whole_book):
    notebook = nbformat.read(whole_book / "book" / "experiments" / f"{name}.ipynb", as_version=4)
    own, given = (parameters_of(notebook, tag) for tag in ("parameters", "injected-parameters"))
    assert given == QUICK[name]
    assert all(own[parameter] != value for parameter, value in given.items())
    quoted = {
        key
        for page in (Path(__file__).parents[1] / "book").glob("*.md")
        for key in _quoted(page.read_text(encoding="utf8"), name)
    }
    assert quoted <= glued(notebook)
    assert name != "task_shift" or "speedups" in glued(notebook)


def _quoted(text: str, name: str) -> list[str]:
    pieces = text.split(f"experiments/{name}.ipynb::")[1:]
    return [piece.split("`")[0].split(":")[0] for piece in pieces]


@pytest.mark.filterwarnings("ignore")  # those of the kernel's client
@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("task_shift", {"shift": -1}, r"shift=-1 is out of range: severity must lie in"),
        (
            "task_shift",
            {"shift_family": "scale", "shift": 0},
            r"severity=0.0 is out of range for the shift 'scale'",
        ),
        ("task_shift", {"shfit": 2.0}, r"there is no parameter 'shfit'; did you mean 'shift'"),
        (
            "task_shift",
            {"shift_family": "rotated", "shift": float("nan")},
            r"shift_family='rotated' is unknown.*pass e\.g\. -p shift_family rotate\nshift=nan is not a finite number",
        ),
        (
            "meta_training",
            {"truncation_length": 7},
            r"truncation_length=7 does not divide horizon=64; use 4 or 8",
        ),
        ("contest", {"also": ["nowhere:Mine"]}, r"nowhere:Mine.*the module 'nowhere' cannot be imported"),
        ("contest", {"also": "adam"}, r"'adam' is called 'Adam' in tables, as is 'adam', who meets already"),
        ("inner_loop", {"num_steps": "many"}, r"num_steps='many' is of type str"),
    ],
)
def test_a_parameter_that_makes_no_sense_stops_the_notebook_with_a_sentence(kernel, name, parameters, told):
    with pytest.raises(CellExecutionError, match=told):
        run(kernel, name, parameters)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_with_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1
