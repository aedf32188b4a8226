"""A headless browser for the tests, and JavaScript's answers to questions in JSON."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def open_browser() -> Iterator[Any]:
    """A playwright browser; the test is skipped where the machine has none."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, _NAMES)), None)
        try:
            browser = playwright.chromium.launch(executable_path=path, args=_QUIET)
        except Error as error:
            if path is None and "Executable doesn't exist" in str(error):
                pytest.skip(
                    f"no browser: none of {', '.join(_NAMES)}, and `playwright install chromium` was not run"
                )
            raise
        yield browser
        browser.close()


class Visit:
    """A page opened with the network off, and everything that it asked for or complained of."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(offline=True, **context)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda message: message.type in ("error", "warning") and self.complaints.append(message.text),
        )
        self.page.goto(url)

    @property
    def foreign_requests(self) -> list[str]:
        """What was asked for that lies neither in a file nor in the page."""
        return [url for url in self.requests if not url.startswith(("file:", "blob:", "data:"))]


def evaluate_javascript(source: str, folder: Path) -> Any:
    """The value of an expression, by node where there is one, else by a browser."""
    if node := shutil.which("node"):
        script = folder / "expression.js"
        script.write_text(f"process.stdout.write(JSON.stringify({source}));", encoding="utf-8")
        done = subprocess.run([node, script], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)
    with open_browser() as browser:
        return json.loads(browser.new_page().evaluate(f"JSON.stringify({source})"))
