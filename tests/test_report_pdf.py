"""The book on paper."""

from pathlib import Path

import pytest

from metalearn_lib.cli import main
from metalearn_lib.report.pdf import PdfError, find_browser, print_page


def test_without_a_browser_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["pdf", "--out", str(tmp_path / "book.pdf")]) == 1
    assert "install Chromium, Chrome or Edge" in capsys.readouterr().err


def test_a_page_is_printed(tmp_path: Path) -> None:
    try:
        browser = find_browser()
    except PdfError as error:
        pytest.skip(str(error))
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><title>t</title><p>Some words.</p>")
    print_page(page, tmp_path / "new" / "book.pdf", browser)
    assert (tmp_path / "new" / "book.pdf").read_bytes().startswith(b"%PDF-")
