"""What the book asks of Sphinx: run the notebooks first, show nothing stale, and let no warning pass."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

from metalearn_lib.report.definitions import write_definitions
from metalearn_lib.report.folds import fold_code
from metalearn_lib.report.launch import add_launch_button
from metalearn_lib.report.offline import ShiftExplorerDirective, write_equation, write_math
from metalearn_lib.report.runner import NotebooksFailed, run_notebooks
from metalearn_lib.report.runs import OUTPUT_FOLDER, RunsError, find_root
from metalearn_lib.report.tables import label_tables


def setup(app: Sphinx) -> dict[str, Any]:
    # before 900, where sphinx-external-toc looks for the documents
    app.connect("config-inited", execute_notebooks, priority=100)
    app.connect("env-get-outdated", reread_pages_that_quote)
    app.connect("html-page-context", drop_kernel_scripts, priority=900)
    app.add_html_math_renderer("mathml", (write_math, None), (write_equation, None))
    app.add_directive("shift-explorer", ShiftExplorerDirective)
    app.connect("source-read", write_definitions)
    app.connect("source-read", fold_code)
    app.connect("html-page-context", mend_lists)
    app.connect("html-page-context", label_tables)
    app.connect("html-page-context", name_toggles, priority=900)  # after the theme has put them there
    app.connect("html-page-context", add_launch_button, priority=900)
    app.connect("build-finished", fail_on_warnings, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def execute_notebooks(app: Sphinx, config: Config) -> None:
    """Bring the executed notebooks up to date; METALEARN_PROFILE and METALEARN_JOBS say how."""
    if not Path(app.srcdir, "index.md").is_file():
        raise ExtensionError(
            f"{app.srcdir} holds no pages of the book; build it with `jupyter-book build book`"
        )
    jobs = os.environ.get("METALEARN_JOBS")
    if jobs is not None and not jobs.isdecimal():
        raise ExtensionError(f"METALEARN_JOBS={jobs!r} is not a number of processes; set it to e.g. 4")
    try:
        run_notebooks(
            find_root(app.srcdir),
            os.environ.get("METALEARN_PROFILE", "standard"),
            jobs=None if jobs is None else int(jobs),
        )
    except (RunsError, NotebooksFailed) as error:
        raise ExtensionError(str(error)) from None  # Jupyter Book prints the whole chain


def reread_pages_that_quote(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> set[str]:
    """Read every page again once a notebook has changed: Sphinx does not know whose numbers a page quotes."""
    folder = f"{OUTPUT_FOLDER.name}/"
    quoted = any(page.startswith(folder) for page in added | changed | removed)
    return set(env.found_docs) if quoted else set()


def drop_kernel_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], _: Any) -> None:
    """Drop sphinx-thebe's scripts: the book starts no kernel on a server, and they declare a constant twice."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{script.filename}{script.attributes.get('body')}".lower()
    ]


def mend_lists(app: Sphinx, page: str, template: str, context: dict[str, Any], _: Any) -> None:
    """Take from citations the roles of a list, which has no list items, and of its entries, which is no more."""
    if body := context.get("body"):
        body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        context["body"] = body.replace(' role="doc-biblioentry"', "")


def name_toggles(app: Sphinx, page: str, template: str, context: dict[str, Any], _: Any) -> None:
    """Say to a screen reader what the arrows beside chapters do, of which the theme says nothing."""
    made = context.get("generate_toctree_html")
    if made is not None:
        context["generate_toctree_html"] = lambda *arguments, **settings: str(
            made(*arguments, **settings)
        ).replace("<summary>", '<summary aria-label="sections">')


def fail_on_warnings(app: Sphinx, exception: Exception | None) -> None:
    """Turn a missing number, citation or reference into exit status 1, this time and the next."""
    if exception is None and app._warncount:
        app.statuscode = 1
        # what was read is forgotten: Sphinx would not warn again about pages it need not read again
        Path(app.doctreedir, "environment.pickle").unlink(missing_ok=True)
