"""Which notebooks the book runs, with which parameters, and whether what they left still holds."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

PROFILES = ("quick", "standard", "full")
LIBRARY = Path(__file__).resolve().parents[1]
RUNS_FILE = Path("notebooks", "runs.yml")
OUTPUT_FOLDER = Path("book", "experiments")
UNSIGNED = '"digest": ""'
"""What stands in an executed copy until it is signed."""
# a new version of any of these may change what a page shows
PACKAGES = (
    *("torch", "numpy", "scikit-learn", "matplotlib", "papermill", "nbclient", "nbformat"),
    *("ipykernel", "ipython", "ipywidgets", "anywidget", "myst-nb"),
)


class RunsError(ValueError):
    """What was asked for cannot be run; the message says why, and what to write instead."""


@dataclass(frozen=True)
class Run:
    """One notebook, one set of parameters, one executed copy."""

    source: Path
    output: Path
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.output.stem

    @property
    def figures(self) -> Path:
        return self.output.parent / "figures"


def find_root(start: str | os.PathLike[str]) -> Path:
    """Return the nearest folder at or above `start` that holds `notebooks/runs.yml`.

    Raises:
        RunsError: if there is none.
    """
    start = Path(start).resolve()
    for folder in (start, *start.parents):
        if (folder / RUNS_FILE).is_file():
            return folder
    raise RunsError(
        f"there is no {RUNS_FILE.as_posix()} in {start} or above it; name the repository with --root"
    )


def read_runs(root: Path, profile: str) -> list[Run]:
    """Read `notebooks/runs.yml`: each entry's `parameters`, overridden by those of the profile.

    Raises:
        RunsError: if the profile is unknown, or the file says something that cannot be run.
    """
    if profile not in PROFILES:
        raise RunsError(f"profile {profile!r} is unknown; use {', '.join(PROFILES[:-1])} or {PROFILES[-1]}")
    path = root / RUNS_FILE
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf8"))
    except OSError as error:
        raise RunsError(
            f"{path} cannot be read: {error.strerror}; name the repository with --root"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RunsError(f"{path} is not YAML: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise RunsError(f"{path} must be a list of runs; write `- source: ...` and `output: ...` for each")
    runs = [_read_run(root, entry, profile, f"{path}, entry {n}") for n, entry in enumerate(entries, 1)]
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RunsError(f"{path}: output {twice[0]!r} is written by two runs; give each its own name")
    return runs


def _read_run(root: Path, entry: Any, profile: str, where: str) -> Run:
    known = ("source", "output", "parameters", *PROFILES)
    if not isinstance(entry, dict) or not {"source", "output"} <= entry.keys():
        raise RunsError(f"{where} must have `source` and `output`; it is {entry!r}")
    if unknown := [key for key in entry if key not in known]:
        raise RunsError(f"{where}: key {unknown[0]!r} is unknown; use one of {', '.join(known)}")
    if not re.fullmatch(r"\w[\w-]*", str(entry["output"])):
        raise RunsError(f"{where}: output {entry['output']!r} must be a bare name, such as task_shift")
    source = root / "notebooks" / str(entry["source"])
    if not source.is_file():
        raise RunsError(f"{where}: source {entry['source']!r} is not a file in {source.parent}")
    parameters: dict[str, Any] = {}
    for key in ("parameters", profile):
        overrides = entry.get(key) or {}
        if not isinstance(overrides, dict):
            raise RunsError(f"{where}: {key} must map names to values; it is {overrides!r}")
        parameters |= overrides
    try:
        json.dumps(parameters)
    except TypeError as error:
        raise RunsError(f"{where}: parameters must be numbers, strings, lists or maps: {error}") from error
    return Run(source, root / OUTPUT_FOLDER / f"{entry['output']}.ipynb", parameters)


def run_key(run: Run, files: str) -> str:
    """Hash all that a run's result depends on: cells, parameters, library, kept results, Python and packages.

    The text counts with the code, since the page shows both; outputs and cell numbers do not.

    Args:
        files: digest of the library and of results/.

    Raises:
        RunsError: if the source is not a notebook.
    """
    try:
        notebook = json.loads(run.source.read_text(encoding="utf8"))
        cells = [(c["cell_type"], "".join(c["source"]), c.get("metadata", {})) for c in notebook["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunsError(f"{run.source} is not a Jupyter notebook of format 4: {error!r}") from error
    parts = {
        "cells": cells,
        "parameters": run.parameters,
        "files": files,
        "python": platform.python_version(),
        "packages": package_versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_fresh(run: Run, key: str) -> bool:
    """Say whether the executed copy carries this key, and it and its figures are what was written, byte for byte."""
    try:
        text = run.output.read_text(encoding="utf8")
        stored = json.loads(text)["metadata"]["metalearn"]
        figures = {name: (run.figures / name).read_bytes() for name in stored["figures"]}
        unsigned = text.replace(UNSIGNED.replace('""', json.dumps(stored["digest"])), UNSIGNED)
        return stored["key"] == key and stored["digest"] == signature(unsigned, figures)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def signature(text: str, figures: Mapping[str, bytes]) -> str:
    """Hash an executed copy, as it is without its signature, and its figures."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(figures):
        digest.update(f"\0{name}\0".encode() + hashlib.sha256(figures[name]).digest())
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of the packages that a page depends on, by name."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
