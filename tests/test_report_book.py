"""`jupyter-book build book` runs the notebooks first, and fails on whatever a reader would miss."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from report_project import REPOSITORY, Project, notebook

from metalearn_lib.report.launch import hosted

NUMBERS = notebook(
    "# Numbers",
    "#: parameters\nspeed = 1.5",
    "from myst_nb import glue\nglue('speed', speed, display=False)",
)
TOC = "format: jb-book\nroot: index\nchapters:\n- file: experiments/numbers\n- file: reproduce\n"
INDEX = (
    "# A book\n\nThe speed is {glue:text}`experiments/numbers.ipynb::speed:.2f` {cite}`vicol2021unbiased`.\n"
)


def new_book(root: Path) -> Project:
    project = Project.new(root, numbers=NUMBERS)
    book = project.root / "book"
    shutil.copytree(REPOSITORY / "book" / "assets", book / "assets")
    shutil.copy(REPOSITORY / "_config.yml", project.root)
    (project.root / "_toc.yml").write_text(TOC)
    (book / "_toc.yml").symlink_to("../_toc.yml")
    (book / "index.md").write_text(INDEX)
    (book / "reproduce.md").write_text("# Sources\n\n```{bibliography}\n```\n")
    (book / "draft.md").write_text("# Not in the table of contents\n")
    entry = "@misc{vicol2021unbiased, title={Unbiased}, author={Vicol, Paul}, year={2021}}\n"
    (book / "references.bib").write_text(entry)
    return project


def build(project: Project, **environment: str) -> tuple[int, str]:
    program = "from jupyter_book.cli.main import main; main()"
    result = project.call("-c", program, "build", "book", **environment)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_book(tmp_path_factory.mktemp("book"))
    status, told = build(project)
    assert status == 0, told
    assert "running numbers" in told
    return project


@pytest.fixture
def book(built_once: Project, tmp_path: Path) -> Project:
    """A book that has been built."""
    return built_once.copy(tmp_path / "book")


def page(project: Project, name: str) -> str:
    return (project.root / "_build" / "html" / f"{name}.html").read_text()


def test_a_book_quotes_its_notebooks_and_follows_them_when_they_change(book: Project) -> None:
    assert "1.50" in page(book, "index")
    assert not (book.root / "_build" / "html" / "draft.html").exists()

    before = book.outputs()
    status, told = build(book)
    assert status == 0
    assert "running numbers" not in told
    assert book.outputs() == before

    book.declare({"source": "numbers.ipynb", "output": "numbers", "parameters": {"speed": 2.25}})
    assert build(book, GITHUB_SERVER_URL="https://github.com", GITHUB_REPOSITORY="owner/name")[0] == 0
    assert "2.25" in page(book, "index"), "a page that only quotes the notebook is written again"
    assert "https://mybinder.org/v2/gh/owner/name/HEAD?urlpath=" in page(book, "experiments/numbers")
    assert "mybinder" not in page(book, "index")


def test_a_notebook_is_launched_from_its_repository_whoever_hosts_that() -> None:
    opened = "HEAD?urlpath=lab%2Ftree%2Fnotebooks%2Fa.ipynb"
    assert hosted("https://github.com/owner/name.git", "notebooks/a.ipynb") == {
        "Binder": f"https://mybinder.org/v2/gh/owner/name/{opened}",
        "Colab": "https://colab.research.google.com/github/owner/name/blob/HEAD/notebooks/a.ipynb",
    }
    assert hosted("https://codeberg.org/owner/name/", "notebooks/a.ipynb") == {
        "Binder": f"https://mybinder.org/v2/git/https%3A%2F%2Fcodeberg.org%2Fowner%2Fname/{opened}"
    }
    assert hosted(None, "notebooks/a.ipynb") == {}


def test_a_page_starts_no_kernel_and_has_one_search_field(book: Project) -> None:
    html = page(book, "index")
    assert "THEBE_JS_URL" not in html
    assert html.count("search-button-field") == 1
    assert "custom.css" in html


def test_a_missing_number_citation_or_reference_fails_the_build_each_time(book: Project) -> None:
    missing = "{glue:text}`experiments/numbers.ipynb::spede:.2f`, {cite}`nobody2021`, {ref}`nowhere`\n"
    (book.root / "book" / "index.md").write_text(INDEX + "\n" + missing)
    for attempt in ("first", "second"):
        status, told = build(book)
        assert status == 1, attempt
        assert "'spede' not found" in told
        assert "nobody2021" in told
        assert "nowhere" in told
        assert "Traceback" not in told


def test_a_failing_cell_fails_the_build_with_notebook_cell_and_traceback(book: Project) -> None:
    broken = NUMBERS.replace("from myst_nb", r"1 / 0\nfrom myst_nb")
    (book.root / "notebooks" / "numbers.ipynb").write_text(broken)
    before = book.outputs()
    status, told = build(book)
    assert status == 1
    assert "numbers.ipynb, cell 3 (1 / 0) failed" in told
    assert "ZeroDivisionError: division by zero" in told
    assert book.outputs() == before


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("METALEARN_PROFILE", "fast", "profile 'fast' is unknown; use quick, standard or full"),
        ("METALEARN_JOBS", "many", "METALEARN_JOBS='many' is not a number of processes"),
        ("METALEARN_JOBS", "0", "jobs=0 runs nothing; use 1 or more"),
    ],
)
def test_a_wrong_setting_ends_the_build_with_a_sentence(
    book: Project, name: str, value: str, told: str
) -> None:
    status, output = build(book, **{name: value})
    assert status == 1
    assert told in output


def test_the_repository_keeps_both_book_files_at_the_top_and_one_link_to_them() -> None:
    link = REPOSITORY / "book" / "_toc.yml"
    assert (REPOSITORY / "_config.yml").is_file()
    assert not (REPOSITORY / "_toc.yml").is_symlink()
    assert link.read_text() in ("../_toc.yml", (REPOSITORY / "_toc.yml").read_text())
