"""A small book in a folder of its own, with notebooks that take no time and a copy of the library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


def notebook(*cells: str) -> str:
    """Return a notebook; a cell that starts with `#: tag` carries that tag, one that starts `# ` is text."""
    made: list[dict[str, Any]] = []
    for source in cells:
        tags = []
        if source.startswith("#: "):
            tag, _, source = source.removeprefix("#: ").partition("\n")
            tags = [tag]
        if source.startswith("# "):
            made.append({"cell_type": "markdown", "metadata": {}, "source": source})
        else:
            code = {
                "cell_type": "code",
                "metadata": {"tags": tags},
                "source": source.splitlines(keepends=True),
            }
            made.append(code | {"outputs": [], "execution_count": None})
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


@dataclass(frozen=True)
class Project:
    root: Path

    @classmethod
    def new(cls, root: Path, *runs: dict[str, Any], **notebooks: str) -> Project:
        """Make a project of the given notebooks, each run once under its own name unless `runs` differs."""
        shutil.copytree(REPOSITORY / "metalearn_lib", root / "metalearn_lib")
        (root / "notebooks").mkdir()
        for name, text in notebooks.items():
            (root / "notebooks" / f"{name}.ipynb").write_text(text)
        project = cls(root)
        project.declare(*(runs or ({"source": f"{name}.ipynb", "output": name} for name in notebooks)))
        return project

    def copy(self, root: Path) -> Project:
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def declare(self, *runs: dict[str, Any]) -> None:
        (self.root / "notebooks" / "runs.yml").write_text(yaml.safe_dump(list(runs)))

    def output(self, name: str) -> Path:
        return self.root / "book" / "experiments" / f"{name}.ipynb"

    def outputs(self) -> dict[str, tuple[bytes, int]]:
        """Return content and time of every file that runs have left."""
        files = [path for path in (self.root / "book" / "experiments").rglob("*") if path.is_file()]
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start this Python in the project, away from the settings of whoever runs the tests."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("METALEARN_")}
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=self.root,
            env=inherited | {"PYTHONPATH": str(self.root), "NO_COLOR": "1"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*command, **environment)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.call("-m", "metalearn_lib", "notebooks", *arguments, **environment)
