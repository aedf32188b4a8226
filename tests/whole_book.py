"""The whole book in its quick profile, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from report_project import REPOSITORY, Project


def build_whole_book(root: Path) -> None:
    """Run every notebook once, and make the pages of what they leave, as in a new checkout."""
    sources = {path.stem: path.read_text() for path in (REPOSITORY / "notebooks").glob("*.ipynb")}
    runs = yaml.safe_load((REPOSITORY / "notebooks" / "runs.yml").read_text())
    project = Project.new(root, *runs, **sources)
    shutil.copytree(REPOSITORY / "results", root / "results")
    ignore = shutil.ignore_patterns("experiments", "_build")
    shutil.copytree(REPOSITORY / "book", root / "book", symlinks=True, ignore=ignore)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(REPOSITORY / name, root)
    program = "from jupyter_book.cli.main import main; main()"
    environment = {"METALEARN_PROFILE": "quick", "XDG_CACHE_HOME": str(root / ".cache")}
    process = project.start("-c", program, "build", "book", **environment)
    told = "".join(process.communicate(timeout=560))
    if process.returncode != 0:
        raise AssertionError(told[-5000:])
