"""Run one notebook through papermill, and keep nothing that the next run would not repeat byte for byte.

A program, not a module to import: the runner starts it, writes one line of JSON to its standard input and
leaves that open. When it closes, the runner is gone and this ends at once; the kernel sees within a second
that its parent has.
"""

from __future__ import annotations

import base64
import difflib
import json
import os
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


class CannotRun(Exception):
    """The notebook did not run to its end; the message is for the reader."""


def main() -> int:
    job = json.loads(sys.stdin.buffer.readline())
    scratch = Path(job["scratch"])
    threading.Thread(target=_die_with_the_runner, args=[scratch], daemon=True).start()
    _isolate(scratch)
    try:
        notebook = _execute(Path(job["source"]), job["parameters"])
        _write(notebook, Path(job["output"]), job["key"])
    except (CannotRun, OSError) as failure:
        told = str(failure)
        if isinstance(failure, OSError):
            told = f"{job['source']} has run, but {failure.filename} cannot be written ({failure.strerror})"
        (scratch / "failure").write_text(told, encoding="utf8")
        return 1
    return 0


def _die_with_the_runner(scratch: Path) -> None:
    # the bare descriptor: a thread inside sys.stdin when the program ends is fatal to the interpreter
    while os.read(0, 1):
        pass
    shutil.rmtree(scratch.parent, ignore_errors=True)  # with what the finished runs have left
    os._exit(1)


def _isolate(scratch: Path) -> None:
    """Keep the user's own set-up out of the kernel: another Python, start-up files, style sheets."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(scratch / "kernels" / KERNEL["name"])
    # matplotlib's SVG has a date and random names otherwise
    (scratch / "matplotlibrc").write_text("svg.hashsalt: metalearn\n", encoding="utf8")
    os.environ |= dict.fromkeys(ONE_THREAD, "1") | {
        "JUPYTER_PATH": os.pathsep.join(filter(None, [str(scratch), os.environ.get("JUPYTER_PATH")])),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "MATPLOTLIBRC": str(scratch / "matplotlibrc"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "SOURCE_DATE_EPOCH": "0",
        "TQDM_DISABLE": "1",  # the runner draws a bar of its own, and a bar's times differ from run to run
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _execute(source: Path, parameters: dict[str, Any]) -> Any:
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    notebook = nbformat.read(source, as_version=4)
    notebook.nbformat_minor = 5
    notebook.metadata = {"kernelspec": KERNEL}
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"  # survives the injection of the parameters, so an error can be located
    _refuse_undeclared(source, parameters, papermill.inspect_notebook(notebook))

    started: list[Any] = []

    def cell_executed(**_: Any) -> None:
        sys.stdout.write(".")
        sys.stdout.flush()

    try:
        return papermill.execute_notebook(
            notebook,
            None,
            parameters=parameters,
            progress_bar=False,
            cwd=source.parent,
            record_timing=False,
            coalesce_streams=True,
            on_cell_start=lambda cell, cell_index: started.append(cell),
            on_cell_executed=cell_executed,
            config=Config({"KernelManager": {"transport_encryption": "auto", **_transport()}}),
        )
    except PapermillExecutionError as error:
        told = "\n".join(error.traceback)
        raise CannotRun(f"{source}, {_locate(started[-1])} failed:\n{_plain(told)}") from error
    except Exception as error:
        where = f", {_locate(started[-1])}" if started else ""
        raise CannotRun(f"{source}{where} could not be run: {type(error).__name__}: {error}") from error


def _transport() -> dict[str, str]:
    """Files of our own, since kernels that start side by side race for ports; ports where the files' names would be too
    long."""
    files = str(Path(os.environ["JUPYTER_RUNTIME_DIR"]).with_name("k"))
    return {"transport": "ipc", "ip": files} if os.name != "nt" and len(files) < 90 else {}


def _refuse_undeclared(source: Path, parameters: dict[str, Any], declared: dict[str, Any]) -> None:
    """Refuse what papermill would set and nobody would read."""
    for name in parameters:
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "declare it there or leave it out"
            names = ", ".join(declared) or "no parameters"
            raise CannotRun(f"{source} has no parameter {name!r} in its `parameters` cell ({names}); {hint}")


def _locate(cell: Any) -> str:
    first_line = next(iter(cell.source.strip().splitlines()), "")
    number = cell.id.removeprefix("cell-")
    return f"cell {number} ({first_line})" if number.isdigit() else "the injected parameters"


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _write(notebook: Any, output: Path, key: str) -> None:
    """Write the figures, then the notebook that vouches for them with its key."""
    import nbformat

    from metalearn_lib.files import atomic_path
    from metalearn_lib.report.runs import UNSIGNED, signature

    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"
        for volatile in ("papermill", "execution"):
            cell.metadata.pop(volatile, None)
    figures = {f"{output.stem}.{name}": image for name, image in _glued_figures(notebook).items()}
    notebook.metadata.pop("papermill", None)
    notebook.metadata["metalearn"] = {"key": key, "figures": sorted(figures), "digest": ""}
    for name, image in figures.items():
        with atomic_path(output.parent / "figures" / name) as path:
            path.write_bytes(image)
    with atomic_path(output) as path:
        text = nbformat.writes(_number_widgets(notebook)) + "\n"
        signed = UNSIGNED.replace('""', f'"{signature(text, figures)}"')
        path.write_text(text.replace(UNSIGNED, signed), encoding="utf8")
    for path in (output.parent / "figures").glob(f"{output.stem}.*"):
        if path.name not in figures:
            path.unlink(missing_ok=True)


def _glued_figures(notebook: Any) -> dict[str, bytes]:
    """Collect the images that `glue` recorded, by file name, so that any page can show them."""
    figures: dict[str, bytes] = {}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        record = output.get("metadata", {}).get("scrapbook")
        if record is None:
            continue
        prefix = record.get("mime_prefix", "")
        svg, png = (output.data.get(f"{prefix}image/{kind}") for kind in ("svg+xml", "png"))
        if svg is None and png is None:
            continue
        if not re.fullmatch(r"[\w-]+", record["name"]):
            raise CannotRun(
                f"figure {record['name']!r} cannot name a file; glue it under letters, digits, _ and -"
            )
        if svg is not None:
            figures[f"{record['name']}.svg"] = "".join(svg).encode()
        else:
            figures[f"{record['name']}.png"] = base64.b64decode("".join(png))
    return figures


def _number_widgets(notebook: Any) -> Any:
    """Replace the random names of widget models by numbers, in the order in which they were made."""
    import nbformat

    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    text = json.dumps(notebook)
    for number, model in enumerate(widgets.get("state", {})):
        text = text.replace(model, f"{number:032x}")
    return nbformat.from_dict(json.loads(text))


if __name__ == "__main__":
    raise SystemExit(main())
