"""The live path: JupyterLab, a kernel, and the widgets in a real browser."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from browser import open_browser
from playwright.sync_api import TimeoutError

from metalearn_lib.web import ShiftExplorer

EXPLORER = (
    "from metalearn_lib.web import ShiftExplorer\nexplorer = ShiftExplorer(severity=1.0, seed=3)\nexplorer"
)


def write_notebook(path: Path, *cells: str) -> None:
    made = [
        {
            "cell_type": "code",
            "id": f"c{n}",
            "metadata": {},
            "source": cell,
            "outputs": [],
            "execution_count": None,
        }
        for n, cell in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab whose folder holds `live.ipynb`."""
    root = tmp_path_factory.mktemp("lab")
    write_notebook(root / "live.ipynb", EXPLORER)
    folders = {f"JUPYTER_{kind}_DIR": str(root / f".{kind}") for kind in ("RUNTIME", "CONFIG")}
    options = [
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        "--ServerApp.port=0",
        f"--ServerApp.root_dir={root}",
        f"--LabApp.workspaces_dir={root / '.workspaces'}",
        f"--LabApp.user_settings_dir={root / '.settings'}",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with (root / "log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=os.environ | folders, cwd=root, stdout=log, stderr=log)
    try:
        while not (found := list((root / ".RUNTIME").glob("jpserver-*.json"))):
            assert server.poll() is None, (root / "log").read_text()[-3000:]
            time.sleep(0.1)
        yield f"{json.loads(found[0].read_text())['url']}lab/tree/live.ipynb"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def page(lab: str) -> Iterator[Any]:
    """The notebook in JupyterLab, all of its cells run."""
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(300_000)
        page.goto(lab)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
        started = page.locator(".jp-InputPrompt", has_text=re.compile(r"\[[*\d]")).first
        for _ in range(
            3
        ):  # while JupyterLab lays out its page, a click may be lost, or a question come between
            page.keyboard.press("Escape")
            with suppress(TimeoutError):
                page.get_by_role("menuitem", name="Run", exact=True).click(timeout=30_000)
                page.get_by_text("Run All Cells", exact=True).click(timeout=30_000)
                started.wait_for(timeout=30_000)
                break
        page.locator(".jp-OutputArea .sx").wait_for()
        yield page


def test_the_explorer_in_a_live_notebook_shows_what_torch_computes(page: Any) -> None:
    explorer = ShiftExplorer(severity=1.0, seed=3)
    bases = {key: explorer.experiment.rules[key].base_lr for key in ("meta", "sgd")}
    assert told_by(explorer, bases) in reached(page)


def told_by(explorer: ShiftExplorer, bases: dict[str, float]) -> str:
    """What the explorer says of its instance at the end."""
    answer, _ = explorer.engine.judge(explorer.settings, bases, explorer.experiment.limit)
    return "SGD: reached it at step {sgd}. Learned rate: reached it at step {meta}".format(
        **answer["reached"]
    )


def reached(page: Any) -> str:
    status = page.locator("[data-out=status]")
    status.filter(has_text="Learned rate: reached").filter(has_text="SGD: reached").wait_for()
    return status.inner_text()


def test_an_explorer_pressed_faster_than_the_kernel_computes_ends_at_the_right_instance(page: Any) -> None:
    explorer = ShiftExplorer(severity=1.0, seed=23)
    bases = {key: explorer.experiment.rules[key].base_lr for key in ("meta", "sgd")}
    page.locator("[data-do=next]").focus()
    for _ in range(20):
        page.keyboard.press("Enter")
    assert page.input_value("[name=seed]") == "23"
    page.wait_for_function(
        "(told) => document.querySelector('[data-out=status]').textContent.includes(told)",
        arg=told_by(explorer, bases),
    )
