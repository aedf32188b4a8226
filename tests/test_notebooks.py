"""The notebooks of the book, by plain papermill, at tiny parameters and at ones nobody should choose."""

import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from ipykernel.kernelspec import write_kernel_spec
from papermill.exceptions import PapermillExecutionError

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TINY = {
    "task_shift": {
        "num_instances": 2,
        "num_tuning": 2,
        "workers": 2,
        "shift_family": "translate",
        "shift": 1,
    },
    "meta_training": {
        "budget": 2000,
        "num_seeds": 2,
        "num_family_seeds": 2,
        "horizon": 16,
        "truncation_length": 4,
        "num_instances": 2,
        "num_tuning": 2,
        "workers": 1,
    },
    "headroom": {"cells": ["task A", "scale 4", "wine"], "num_instances": 2, "num_tuning": 2, "workers": 1},
    "contest": {
        "cells": ["task A", "wine"],
        "also": ["metalearn_lib.directions.rmsprop:RMSProp@mixture"],
        "num_instances": 2,
        "num_tuning": 2,
        "num_meta_seeds": 1,
        "workers": 2,
    },
    "feedback": {
        "cells": ["task A", "wine"],
        "num_instances": 2,
        "num_tuning": 2,
        "num_meta_seeds": 1,
        "workers": 1,
    },
    "ahead": {
        "cells": ["task A", "translate 2"],
        "elsewhere": ["depth 1"],
        "num_instances": 2,
        "num_tuning": 2,
        "num_meta_seeds": 1,
        "workers": 1,
    },
    "real_data": {"cells": ["wine"], "num_instances": 2, "num_tuning": 2, "num_meta_seeds": 1, "workers": 1},
    "limits": {
        "cells": ["task A", "wine"],
        "num_instances": 2,
        "num_tuning": 2,
        "num_meta_seeds": 1,
        "workers": 1,
    },
    "inner_loop": {"num_steps": 4, "shift_family": "anisotropy", "shift": 4.0, "base_lr_factor": 100},
}


@pytest.fixture
def this_python(tmp_path, monkeypatch):
    """A kernel named python3 that is the Python of these tests, whatever else is installed."""
    write_kernel_spec(tmp_path / "kernels" / "python3")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert sys.executable in (tmp_path / "kernels" / "python3" / "kernel.json").read_text()


def run(name: str, parameters: dict) -> nbformat.NotebookNode:
    return papermill.execute_notebook(
        NOTEBOOKS / f"{name}.ipynb", None, parameters, progress_bar=False, cwd=NOTEBOOKS, log_output=False
    )


def glued(notebook: nbformat.NotebookNode) -> set[str]:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return {output.metadata.scrapbook.name for output in outputs if "scrapbook" in output.get("metadata", {})}


@pytest.mark.filterwarnings("ignore")  # those of papermill and the kernel's client
@pytest.mark.usefixtures("this_python")
@pytest.mark.parametrize("name", TINY)
def test_a_notebook_runs_with_other_parameters_and_glues_all_that_the_book_quotes(name):
    notebook = run(name, TINY[name])
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("this_python")
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
def test_a_parameter_that_makes_no_sense_stops_the_notebook_with_a_sentence(name, parameters, told):
    with pytest.raises(PapermillExecutionError, match=told):
        run(name, parameters)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs_and_with_parameters(path):
    notebook = nbformat.read(path, as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells) == 1
