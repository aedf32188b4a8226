"""The book on paper: all pages in one, printed by a browser."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from metalearn_lib.report.runs import find_root

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


class PdfError(RuntimeError):
    """No PDF could be made; the message says why."""


def find_browser() -> str:
    """A program on the path that can print a page.

    Raises:
        PdfError: if there is none.
    """
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise PdfError(
        f"no browser can print the book: install Chromium, Chrome or Edge; tried {', '.join(BROWSERS)}"
    )


def make_pdf(out: Path, root: Path | None = None) -> None:
    """Build the book as one page and print it to `out`.

    Raises:
        PdfError: without a browser, or where the build or the printing fails.
    """
    browser = find_browser()
    root = find_root(root or ".")
    build = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", build, "build", "book", "--builder", "singlehtml"]
    if subprocess.run(command, cwd=root, stdout=sys.stderr).returncode:
        raise PdfError("the book was not built; what went wrong stands above")
    print_page(root / "_build" / "singlehtml" / "index.html", out, browser)


def print_page(page: Path, out: Path, browser: str) -> None:
    """Print a page that lies in a file.

    Raises:
        PdfError: if the browser does not make the file.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        options += ["--no-pdf-header-footer", "--virtual-time-budget=5000", f"--print-to-pdf={out.resolve()}"]
        done = subprocess.run(
            [browser, *options, page.resolve().as_uri()], capture_output=True, text=True, timeout=300
        )
    if not out.is_file():
        raise PdfError(f"{browser} printed nothing (status {done.returncode})\n{done.stderr[-2000:]}")
