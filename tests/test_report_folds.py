"""What a page shows of a notebook's code."""

from typing import Any

from metalearn_lib.report.folds import folded


def code(source: str, *tags: str, outputs: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "source": [source],
        "metadata": {"tags": list(tags)},
        "outputs": list(outputs),
    }


def shown(*kinds: str) -> dict[str, Any]:
    return {"output_type": "display_data", "data": dict.fromkeys(kinds, "")}


def test_a_fold_that_leads_to_nothing_goes_and_what_is_only_glued_is_nothing() -> None:
    cells = [
        code("a", "hide-input"),
        code("b", "hide-input", outputs=(shown("application/papermill.record/text/plain"),)),
        code("c", "hide-input", outputs=(shown("image/svg+xml"),)),
        code("d", "hide-input", outputs=({"output_type": "stream", "text": "d"},)),
        code("e"),
    ]
    page = folded({"cells": cells}, "name")
    assert ["remove-cell" in cell["metadata"]["tags"] for cell in page["cells"]] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_parameters_stand_at_the_end_with_those_that_were_given() -> None:
    cells = [
        {"cell_type": "markdown", "source": "# Title", "metadata": {}},
        code("shift = 4.0  # severity", "parameters"),
        code("# Parameters\nshift = 2.0\n", "injected-parameters"),
        code("shift", outputs=(shown("text/plain"),)),
    ]
    *before, end = folded({"cells": cells}, "task_shift")["cells"]
    assert ["remove-cell" in cell["metadata"].get("tags", []) for cell in before] == [
        False,
        True,
        True,
        False,
    ]
    assert end["source"].startswith(":::{dropdown} Run it with your own numbers")
    assert "shift = 4.0  # severity\n# Parameters\nshift = 2.0\n```" in end["source"]
    assert "papermill notebooks/task_shift.ipynb mine.ipynb -p shift ..." in end["source"]
