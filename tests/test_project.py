"""What the project says of itself agrees, and what the library reads at run time goes into the wheel."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import tomllib

import pytest
import yaml
from report_project import REPOSITORY

import metalearn_lib

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def test_the_version_and_the_licence_are_one_everywhere() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    released = re.search(r"^## (\d[\d.]*), (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is not None
    assert released.groups() == (citation["version"], str(citation["date-released"]))
    assert citation["version"] == metalearn_lib.__version__
    assert PROJECT["project"]["license"] == citation["license"]
    assert (REPOSITORY / "LICENSE").read_text().startswith(f"{citation['license']} License")


def test_every_file_of_the_library_that_is_no_module_goes_into_the_wheel() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "metalearn_lib"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no checkout")
    files = {
        name.removeprefix("metalearn_lib/") for name in listed.stdout.split() if not name.endswith(".py")
    }
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["metalearn_lib"]
    assert "evaluate/preregistration.toml" in files
    assert {
        name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    } == set()


def test_the_opening_page_is_short_and_quotes_few_numbers_none_of_one_training_alone() -> None:
    page = (REPOSITORY / "book" / "index.md").read_text()
    quoted = re.findall(r"\{glue:text\}`([^:`]+)::", page)
    assert 0 < len(quoted) <= 5
    over_trainings = {"contest", "second", "real_data", "own_models"}
    assert {name.removeprefix("experiments/").removesuffix(".ipynb") for name in quoted} <= over_trainings
    prose = re.sub(r"```.*?```|\{glue:text\}`[^`]*`|<[^>]*>|\]\([^)]*\)", " ", page, flags=re.DOTALL)
    assert len(prose.split()) <= 350


def test_every_notebooks_page_asks_a_question_and_answers_it_in_bold() -> None:
    for source in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        first = "".join(json.loads(source.read_text())["cells"][0]["source"])
        title, answer = first.split("\n\n")[:2]
        assert title.endswith("?"), source.name
        assert answer.startswith("**"), source.name


WORDS = {
    r"thresholds?": "target loss",
    r"cross(?:es|ed)": "reaches it, reached it",
    r"cells?": "setting",
}
"""What the book calls by one word, as CONTRIBUTING.md lists; the code has its own names."""
TELL_OF_CODE = {
    "sweep_howto",
    "reproduce",
    "cluster_howto",
    "own_model_howto",
    "glossary",
    "own_task",
    "own_rate",
}


def test_the_book_has_one_word_for_one_thing() -> None:
    pages = {path.stem: path.read_text() for path in (REPOSITORY / "book").glob("*.md")}
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        captions = [each.values() for cell in cells for each in cell["metadata"].get("mystnb", {}).values()]
        told = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        pages[path.stem] = "\n".join([*told, *(str(text) for texts in captions for text in texts)])
    found = []
    for name, text in pages.items():
        prose = re.sub(r"```.*?```|`[^`]*`|\([^()\s]*\)|^\([a-z-]*\)=$", "", text, flags=re.S | re.M)
        for word, better in WORDS.items():
            hits = re.findall(rf".{{0,30}}\b{word}\b.{{0,20}}", prose, flags=re.I)
            if hits and name not in TELL_OF_CODE:
                found += [f"{name}: “{hit}”; say {better}" for hit in hits]
    assert found == []
