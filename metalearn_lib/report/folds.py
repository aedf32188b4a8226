"""What a page shows of a notebook's code: what figures and tables were made by, folded, and the parameters last."""

from __future__ import annotations

import json
from typing import Any

from sphinx.application import Sphinx

from metalearn_lib.report.runs import OUTPUT_FOLDER

_GLUED = "application/papermill.record"
_END = """:::{{dropdown}} Run it with your own numbers
The numbers that this page was made with; in a live notebook they stand in the first cell.

```python
{parameters}
```

From a command line, with any of them changed:

```bash
papermill notebooks/{name}.ipynb mine.ipynb -p {first} ...
```
:::
"""


def fold_code(app: Sphinx, page: str, source: list[str]) -> None:
    """Leave out of a notebook's page the cells that show nothing, and put its parameters at the end."""
    folder, _, name = page.rpartition("/")
    if folder == OUTPUT_FOLDER.name and source[0].startswith("{"):
        source[0] = json.dumps(folded(json.loads(source[0]), name))


def folded(notebook: dict[str, Any], name: str) -> dict[str, Any]:
    parameters = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tags = cell["metadata"].setdefault("tags", [])
        if {"parameters", "injected-parameters"} & set(tags):
            parameters += "\n" + "".join(cell["source"])
            tags.append("remove-cell")
        elif "hide-input" in tags and not any(map(_shows, cell["outputs"])):
            tags.append("remove-cell")
    first = parameters.strip().partition(" ")[0]
    if first:
        text = _END.format(parameters=parameters.strip(), name=name, first=first)
        end = {"cell_type": "markdown", "id": "parameters", "metadata": {}, "source": text}
        notebook["cells"].append(end)
    return notebook


def _shows(output: dict[str, Any]) -> bool:
    """Whether a reader sees the output: what is glued elsewhere is kept in one, too."""
    return output["output_type"] == "stream" or any(
        not kind.startswith(_GLUED) for kind in output.get("data", {})
    )
