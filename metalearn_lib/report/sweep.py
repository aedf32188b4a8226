"""A notebook at every combination of some parameters: executed copies, a table of what they found, and a page."""

from __future__ import annotations

import ast
import contextlib
import csv
import hashlib
import io
import itertools
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from metalearn_lib.files import atomic_path, files_digest, read_parquet, write_parquet
from metalearn_lib.report.gallery import page
from metalearn_lib.report.runner import execute, how_many
from metalearn_lib.report.runs import LIBRARY, Run, RunsError, find_root, is_fresh, run_key

if TYPE_CHECKING:
    from metalearn_lib.cluster import Cluster

TABLE, PAGE, DURATIONS = "sweep.parquet", "index.html", "durations.csv"
DONE, FAILED, REFUSED, WAITING = "done", "failed", "refused", "not run"
"""What a row's `status` may be."""
LONGEST = 100
"""Characters of a setting's name."""
_INTERVAL = re.compile(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]")


class Setting(NamedTuple):
    """One combination of parameters."""

    name: str
    """of its executed notebook"""
    parameters: dict[str, Any]


class Swept(NamedTuple):
    """How a sweep ended: names of settings."""

    ran: tuple[str, ...]
    fresh: tuple[str, ...]
    faults: dict[str, str]
    """what was wrong with those that were refused or failed"""


def read_values(text: str) -> tuple[str, list[Any]]:
    """A parameter and its values, from `name=a,b,c`; a value may be a list in brackets.

    Raises:
        RunsError: for what does not read so.
    """
    name, equals, values = text.partition("=")
    try:
        found = yaml.safe_load(f"[{values}]") if equals and name.isidentifier() else None
    except yaml.YAMLError:
        found = None
    if not found:
        raise RunsError(
            f"{text!r} gives no parameter its values; write e.g. shift=1,2,4 or cells=[task A],[wine]"
        )
    return name, [_number(each) for each in found]


def read_grid(path: Path) -> dict[str, list[Any]]:
    """Parameters and their values, from a YAML file that maps names to lists.

    Raises:
        RunsError: for a file that does not.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise RunsError(f"{path} cannot be read: {fault}") from fault
    if not isinstance(found, dict) or not all(isinstance(each, list) and each for each in found.values()):
        raise RunsError(f"{path} must map each parameter to a list of values; write e.g. `shift: [1, 2, 4]`")
    return {str(name): [_number(each) for each in values] for name, values in found.items()}


def settings_of(grid: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """Every combination, the last parameter's values next to each other.

    Raises:
        RunsError: where a value is named twice.
    """
    made = []
    for values in itertools.product(*grid.values()):
        parameters = dict(zip(grid, values, strict=True))
        told = ",".join(f"{name}={_told(value)}" for name, value in parameters.items())
        name = re.sub(r"[^\w=,.+-]+", "-", told)
        if name != told or len(name) > LONGEST:
            digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:8]
            name = f"{name[:LONGEST]}-{digest}"
        made.append(Setting(name, parameters))
    names = [each.name for each in made]
    if twice := next((each for each in names if names.count(each) > 1), None):
        raise RunsError(f"{twice} comes twice; name each value once")
    return made


def sweep(
    notebook: str | os.PathLike[str],
    grid: Mapping[str, Sequence[Any]],
    out: str | os.PathLike[str],
    *,
    jobs: int | None = None,
    force: bool = False,
    plots: Sequence[str] = (),
    progress: bool = True,
    cluster: Cluster | None = None,
) -> Swept:
    """Execute a notebook at every combination of parameters, where that has not been done.

    In the folder lie then the executed notebooks, their figures, the table `sweep.parquet` and the page `index.html`.
    All settings are checked, by the notebook's own `check_parameters`, before the first runs; those that it refuses are
    left out, and one that fails stops no other. Rows of earlier sweeps of the notebook stay in the table, below.
    However many run at a time, the files are the same, but for `durations.csv`, the seconds that each setting took.

    Args:
        notebook: the source.
        grid: values by parameter, at most two of them lists of more than one where there are `plots`.
        out: a folder, new, or of an earlier sweep.
        jobs: how many notebooks run at a time; one for each core by default.
        force: execute also what is done.
        plots: numbers that the notebook glues, to be drawn over the parameters.
        progress: whether to tell on standard error how far it is.
        cluster: whose workers execute it instead.

    Raises:
        WorkerFailed: if a cluster's worker is lost, or not like this machine; what has run is kept.
        RunsError: if the request is at fault; nothing has run then, unless the fault is a number in `plots` that no
            notebook glues, which only the runs can show.
    """
    source, out, jobs = Path(notebook).resolve(), Path(out).resolve(), how_many(jobs)
    if not source.is_file():
        raise RunsError(
            f"{os.fspath(notebook)!r} is no file; name a notebook, such as notebooks/task_shift.ipynb"
        )
    settings = settings_of(grid)
    varied = [name for name, values in grid.items() if len(values) > 1]
    if plots and not 1 <= len(varied) <= 2:
        raise RunsError(
            f"{', '.join(varied) or 'no parameter'} varies, and a figure has one or two; give the others one value"
        )
    before = _table_of(out, source)
    faults = refusals(source, settings)
    kept = _results(source)
    files = files_digest(LIBRARY, *[kept] if kept else [])
    keyed = {each.name: _keyed(source, out, each, files) for each in settings if each.name not in faults}
    stale = [(run, key) for run, key in keyed.values() if force or not is_fresh(run, key)]
    told = {name: (REFUSED, fault) for name, fault in faults.items()}
    if progress:
        for name, fault in faults.items():
            print(f"{name} is refused: {fault}", file=sys.stderr)

    def write() -> list[dict[str, Any]]:
        done = {name: (DONE, "") for name, (run, key) in keyed.items() if is_fresh(run, key)}
        rows = [_row(out, each, *(told | done).get(each.name, (WAITING, ""))) for each in settings]
        kept = [row for row in before if row["setting"] not in {each.name for each in settings}]
        _write_table(out / TABLE, [*rows, *kept], source)
        return rows

    durations = _durations(out)
    write()  # and the folder is a sweep's from now on
    try:
        failures = execute(
            stale, jobs, progress, go_on=True, cluster=cluster, kept=kept, ended=durations.__setitem__
        )
        told |= {name: (FAILED, failure) for name, failure in failures.items()}
    finally:
        rows = write()
        with atomic_path(out / DURATIONS) as path, path.open("w", newline="") as file:
            csv.writer(file).writerows([("setting", "seconds"), *sorted(durations.items())])
        done = [row for row in rows if row["status"] == DONE]
        drawn = _draw(out, done, plots, varied)
        with atomic_path(out / PAGE) as path:
            path.write_text(_page(source, out, rows, list(grid), drawn), encoding="utf8")
    if done and (missing := [number for number in plots if number not in drawn]):
        numbers = sorted({name for row in done for name in row} - {"setting", "status", "message", *grid})
        raise RunsError(
            f"no notebook glues a number {missing[0]!r}; there are {', '.join(numbers) or 'none'}"
        )
    names = [run.name for run, _ in stale]
    ran = tuple(name for name in names if name not in failures)
    return Swept(ran, tuple(name for name in keyed if name not in names), faults | failures)


def refusals(source: Path, settings: Sequence[Setting]) -> dict[str, str]:
    """By name, what the notebook's own check says against settings; it runs here, and nothing else of the notebook.

    Raises:
        RunsError: for a parameter that the notebook does not declare, or a source that is no notebook.
    """
    try:
        cells = [
            each
            for each in json.loads(source.read_text(encoding="utf8"))["cells"]
            if each["cell_type"] == "code"
        ]
        code = [("".join(each["source"]), each.get("metadata", {}).get("tags", [])) for each in cells]
    except (ValueError, KeyError, TypeError) as fault:
        raise RunsError(f"{source} is not a Jupyter notebook of format 4: {fault!r}") from fault
    declared = next((text for text, tags in code if "parameters" in tags), "")
    check = next((text for text, _ in code if "check_parameters(" in text), "")
    found: dict[str, str] = {}
    with _as_in(source.parent):
        for setting in settings:
            namespace: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(declared, str(source), "exec"), namespace)
            if unknown := [name for name in setting.parameters if name not in namespace]:
                names = ", ".join(name for name in namespace if not name.startswith("_")) or "none"
                raise RunsError(
                    f"{source} has no parameter {unknown[0]!r} in its `parameters` cell; there are {names}"
                )
            try:
                exec(compile(check, str(source), "exec"), namespace | setting.parameters)
            except Exception as fault:
                found[setting.name] = str(fault)
    return found


@contextlib.contextmanager
def _as_in(folder: Path) -> Iterator[None]:
    """Where and with what on the path a notebook's code runs; what it prints is not shown."""
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.path.remove(str(folder))


def _results(source: Path) -> Path | None:
    """Kept results that the notebook may read."""
    with contextlib.suppress(RunsError):
        if (folder := find_root(source.parent) / "results").is_dir():
            return folder
    return None


def _keyed(source: Path, out: Path, setting: Setting, files: str) -> tuple[Run, str]:
    run = Run(source, out / f"{setting.name}.ipynb", setting.parameters)
    return run, run_key(run, files)


def _row(out: Path, setting: Setting, status: str, message: str) -> dict[str, Any]:
    found = glued(out / f"{setting.name}.ipynb") if status == DONE else {}
    parameters = {
        name: json.dumps(each) if isinstance(each, list | dict) else each for name, each in setting[1].items()
    }
    numbers = {name if name not in parameters else f"glued {name}": value for name, value in found.items()}
    return {"setting": setting.name, "status": status, "message": message, **parameters, **numbers}


def glued(path: Path) -> dict[str, float]:
    """The numbers that an executed notebook has glued; of one with an interval also `name low` and `name high`."""
    found: dict[str, float] = {}
    for cell in json.loads(path.read_text(encoding="utf8"))["cells"]:
        for output in cell.get("outputs", []):
            record = output.get("metadata", {}).get("scrapbook")
            text = record and output.get("data", {}).get(record.get("mime_prefix", "") + "text/plain")
            if not text:
                continue
            value = _value("".join(text))
            if isinstance(value, str) and (parts := _INTERVAL.fullmatch(value)):
                names = (record["name"], f"{record['name']} low", f"{record['name']} high")
                found |= zip(names, map(float, parts.groups()), strict=True)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                found[record["name"]] = float(value)
    return found


def _value(text: str) -> Any:
    """What was printed: a literal, also of numpy's kinds; or nothing."""
    text = re.sub(r"^np\.\w+\((.*)\)$", r"\1", text)
    if text in ("nan", "inf", "-inf"):
        return float(text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def _table_of(out: Path, source: Path) -> list[dict[str, Any]]:
    """Rows of an earlier sweep.

    Raises:
        RunsError: for a folder that is another's.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return []
    if not out.is_dir() or not (out / TABLE).is_file():
        raise RunsError(f"{out} is there and is no folder of a sweep; name a new one with --out")
    try:
        table = read_parquet(out / TABLE)
    except (OSError, ValueError) as fault:
        raise RunsError(f"{out / TABLE} cannot be read ({fault}); name a new folder with --out") from fault
    if (made_of := (table.schema.metadata or {}).get(b"notebook", b"").decode()) != source.name:
        raise RunsError(
            f"{out} holds a sweep of {made_of or 'nothing'}, and not of {source.name}; name another --out"
        )
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def _durations(out: Path) -> dict[str, float]:
    """By setting, the seconds of its last run; of earlier sweeps, where they can be read."""
    with (
        contextlib.suppress(OSError, ValueError, KeyError, csv.Error),
        (out / DURATIONS).open(newline="") as file,
    ):
        return {row["setting"]: float(row["seconds"]) for row in csv.DictReader(file)}
    return {}


def _write_table(path: Path, rows: list[dict[str, Any]], source: Path) -> None:
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    write_parquet(path, pa.table(columns).replace_schema_metadata({"notebook": source.name}))


def _column(values: list[Any]) -> list[Any]:
    """Of one type: numbers, truths or, where they are mixed, texts."""
    there = [each for each in values if each is not None]
    if all(isinstance(each, bool) for each in there) or all(isinstance(each, str) for each in there):
        return values
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in there):
        return [None if each is None else float(each) for each in values]
    return [None if each is None else str(each) for each in values]


def _page(
    source: Path, out: Path, rows: list[dict[str, Any]], parameters: list[str], drawn: dict[str, str]
) -> str:
    figures: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["status"] == DONE:
            name = row["setting"]
            kept = json.loads((out / f"{name}.ipynb").read_text(encoding="utf8"))["metadata"]["metalearn"]
            for file in kept["figures"]:
                figure = Path(file.removeprefix(f"{name}.")).stem
                figures.setdefault(figure, {})[name] = f"figures/{file}"
    cells = json.loads(source.read_text(encoding="utf8"))["cells"]
    texts = ["".join(each["source"]) for each in cells if each["cell_type"] == "markdown"]
    headings = [text.splitlines()[0].lstrip("# ") for text in texts if text.startswith("# ")]
    return page(next(iter(headings), source.stem), rows, parameters, figures, drawn)


def _draw(
    out: Path, done: list[dict[str, Any]], plots: Sequence[str], varied: Sequence[str]
) -> dict[str, str]:
    """By number, the file of its figure; of those that are glued."""
    drawn = {number: f"{re.sub(r'[^A-Za-z0-9_-]+', '-', number)}.svg" for number in plots}
    drawn = {number: file for number, file in drawn.items() if any(number in row for row in done)}
    if drawn:
        from metalearn_lib.plots.sweep import save_swept

        for number, file in drawn.items():
            save_swept(done, number, varied, out / file)
    return drawn


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as a text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            number = float(value)
            return number if math.isfinite(number) else value
    return value


def _told(value: Any) -> str:
    return "+".join(map(_told, value)) if isinstance(value, list) else str(value)
