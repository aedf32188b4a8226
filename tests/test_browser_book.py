"""The whole book in a real browser, opened from a file with the network off."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import Visit, open_browser
from report_project import REPOSITORY

TOC = yaml.safe_load((REPOSITORY / "_toc.yml").read_text())
CHAPTERS = [{"file": "index"}, *(chapter for part in TOC["parts"] for chapter in part["chapters"])]
REFERENCE = [section["file"] for chapter in CHAPTERS for section in chapter.get("sections", [])]
PAGES = [chapter["file"] for chapter in CHAPTERS]


@pytest.fixture(scope="session")
def book(whole_book: Path) -> Path:
    return whole_book / "_build" / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def visit(browser: Any, book: Path) -> Iterator[Any]:
    visits = []

    def open_page(page: str, **context: Any) -> Visit:
        visits.append(Visit(browser, f"{book.as_uri()}/{page}", **context))
        return visits[-1]

    yield open_page
    for each in visits:
        each.context.close()


@pytest.mark.parametrize("name", [*PAGES, *REFERENCE])
def test_a_page_is_whole_without_a_network(visit: Any, name: str) -> None:
    seen = visit(f"{name}.html")
    seen.page.wait_for_load_state()
    assert seen.foreign_requests == []
    assert seen.complaints == []
    assert seen.page.evaluate("[...document.images].filter((i) => !i.alt || !i.naturalWidth).length") == 0
    assert seen.page.locator("merror").count() == 0


# the pages of the reference are long and of one make, so that one stands for them
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, REFERENCE[-1]])
def test_a_page_has_no_barrier(visit: Any, name: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit(f"{name}.html", color_scheme=scheme, reduced_motion="reduce").page
    page.wait_for_load_state()
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    found = [
        (each["id"], [node["html"][:200] for node in each["nodes"][:4]])
        for each in Axe().run(page).response["violations"]
    ]
    assert found == []


@pytest.mark.parametrize("name", [*PAGES, *REFERENCE])
def test_a_phone_never_scrolls_sideways(visit: Any, name: str) -> None:
    page = visit(f"{name}.html", viewport={"width": 375, "height": 700}).page
    page.wait_for_load_state()
    width, wide = page.evaluate(
        """() => [document.documentElement.scrollWidth, [...document.querySelectorAll("article *")]
            .filter((e) => e.getBoundingClientRect().right > 376).slice(0, 8).map((e) => e.outerHTML.slice(0, 120))]"""
    )
    assert width <= 375, wide


def test_the_opening_page_weighs_less_than_three_megabytes(visit: Any) -> None:
    seen = visit("index.html")
    seen.page.wait_for_load_state()
    files = {
        Path(url.removeprefix("file://").split("?")[0]) for url in seen.requests if url.startswith("file")
    }
    assert sum(path.stat().st_size for path in files) < 3e6


def test_search_finds_a_word(visit: Any) -> None:
    seen = visit("index.html")
    seen.page.keyboard.press("Control+k")
    seen.page.keyboard.type("placebo")
    seen.page.keyboard.press("Enter")
    seen.page.locator("ul.search a", has_text="What does a learned rate see").wait_for()
    assert seen.foreign_requests == []
    assert seen.complaints == []


def test_a_notebook_can_be_downloaded_from_its_page(visit: Any, book: Path) -> None:
    page = visit("experiments/task_shift.html").page
    link = page.locator("a.btn-download-source-button").get_attribute("href")
    notebook = json.loads((book / "experiments" / link).resolve().read_text())
    assert notebook["nbformat"] == 4


def test_the_command_that_opens_a_notebook_can_be_copied_from_its_page(visit: Any) -> None:
    page = visit("experiments/task_shift.html", permissions=["clipboard-read", "clipboard-write"]).page
    page.locator(".dropdown-launch-buttons > button").click()
    page.locator(".btn-launch").first.click()
    page.get_by_text("copied").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command == "jupyter lab notebooks/task_shift.ipynb"
    page.locator(".btn-launch", has_text=command).wait_for()


def test_each_link_to_a_setting_moves_the_explorer(visit: Any) -> None:
    page = visit("index.html").page
    links = page.locator("article a[href^='#shift=']")
    assert links.count() >= 3
    for place in range(links.count()):
        link = links.nth(place)
        wanted = dict(pair.split("=") for pair in link.get_attribute("href")[1:].split("&"))
        link.click()
        page.wait_for_function(
            "rival => document.querySelector(`[name=rival-${rival}]`).checked", arg=wanted["rival"]
        )
        assert page.locator("[name=shift]").input_value() == wanted["shift"]
        assert page.locator("[name=seed]").input_value() == wanted["seed"]
        assert float(wanted["severity"]) == pytest.approx(
            float(page.locator("[data-out=severity]").inner_text().lstrip("× "))
        )


def test_on_paper_the_explorer_is_a_picture(visit: Any) -> None:
    page = visit("index.html").page
    page.locator(".sx").wait_for()
    assert not page.locator(".explorer-picture").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".explorer-picture").is_visible()
    assert not page.locator(".sx").is_visible()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("task A:", r"SGD: reached.*Learned rate: reached"),
        ("a hundredth", r"SGD: not there.*Learned rate: reached"),
        ("inputs × 16", r"SGD: diverged.*Learned rate: not there"),
        ("Adam: sooner", r"Adam: reached it at step 2\d\. Learned rate: reached it at step 3\d"),
        ("an update", r"Learned update: reached it at step 1\d\. Learned rate: reached it at step 3\d"),
    ],
)
def test_the_prose_is_right_about_the_setting_it_links_to(visit: Any, words: str, told: str) -> None:
    page = visit("index.html").page
    page.locator("article a[href^='#shift=']", has_text=words).click()
    page.wait_for_function(
        "told => new RegExp(told).test(document.querySelector('[data-out=status]').innerText)", arg=told
    )
    assert re.search(told, page.locator("[data-out=status]").inner_text())
