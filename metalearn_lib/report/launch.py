"""The button on a page of a notebook that runs it: here, and where a repository is known, elsewhere."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

from sphinx.application import Sphinx

from metalearn_lib.report.runs import OUTPUT_FOLDER, find_root, read_runs

BINDER = "https://mybinder.org/v2"
COLAB = "https://colab.research.google.com/github"
_COPY = (
    "event.stopPropagation(); const command = '%s', told = this.querySelector('.btn__text-container');"
    "navigator.clipboard?.writeText(command).then(() => { told.textContent = 'copied';"
    "setTimeout(() => told.textContent = command, 1500); })"
)


def add_launch_button(app: Sphinx, page: str, template: str, context: dict[str, Any], _: Any) -> None:
    """Give the page of an executed notebook a menu that opens its source.

    It holds the command that does so here, which a click copies. Where a public repository is known, it links to
    Binder, and for GitHub to Colab: `repository: {url: ...}` in _config.yml says which, and without it what GitHub's
    own builds set.
    """
    sources = {f"{OUTPUT_FOLDER.name}/{run.name}": run.source for run in _runs(app)}
    if page not in sources:
        return
    notebook = f"notebooks/{sources[page].name}"
    command = f"jupyter lab {notebook}"
    buttons = [_entry("javascript", command, "Copy the command", "fas fa-copy", javascript=_COPY % command)]
    buttons += [
        _entry("link", name, f"Open in {name}", "fas fa-cloud", url=url)
        for name, url in hosted(_repository(app), notebook).items()
    ]
    group = {"type": "group", "buttons": buttons, "icon": "fas fa-rocket"}
    context["header_buttons"].append(group | {"tooltip": "Run this notebook", "label": "launch-buttons"})


def hosted(repository: str | None, notebook: str) -> dict[str, str]:
    """Where a notebook of a public repository can be run, by the host's name.

    Args:
        repository: its address, such as https://github.com/owner/name; None if there is none.
        notebook: a path within it.
    """
    if not repository:
        return {}
    repository = repository.removesuffix("/").removesuffix(".git")
    opened = f"HEAD?urlpath={quote(f'lab/tree/{notebook}', safe='')}"
    where, _, name = repository.partition("github.com/")
    if where != "https://":
        return {"Binder": f"{BINDER}/git/{quote(repository, safe='')}/{opened}"}
    return {"Binder": f"{BINDER}/gh/{name}/{opened}", "Colab": f"{COLAB}/{name}/blob/HEAD/{notebook}"}


def _runs(app: Sphinx) -> list[Any]:
    return read_runs(find_root(app.srcdir), os.environ.get("METALEARN_PROFILE", "standard"))


def _repository(app: Sphinx) -> str | None:
    server, name = os.environ.get("GITHUB_SERVER_URL"), os.environ.get("GITHUB_REPOSITORY")
    built = f"{server}/{name}" if server and name else None
    return app.config.html_theme_options.get("repository_url") or built


def _entry(kind: str, text: str, tooltip: str, icon: str, **more: str) -> dict[str, str]:
    return {"type": kind, "text": text, "tooltip": tooltip, "icon": icon, "label": "launch"} | more
