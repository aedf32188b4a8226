"""The names that `import metalearn_lib` gives, and the pages that document them."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest

import metalearn_lib
from metalearn_lib.registry import Registry
from metalearn_lib.report.api import PACKAGE, as_rst, modules

PAGES = Path(__file__).parents[1] / "book" / "api"
THINGS = {name: getattr(metalearn_lib, name) for name in metalearn_lib.__all__}
RULES = [kind for thing in THINGS.values() if isinstance(thing, Registry) for kind in thing.values()]


@pytest.fixture(scope="module")
def documented() -> set[str]:
    """The modules of which the reference has the docstrings."""
    named = [
        re.findall(r"^:::\{modules\} (\S+)$", page.read_text(), re.MULTILINE) for page in PAGES.glob("*.md")
    ]
    return {f"{PACKAGE}.{module}" for names in named for name in names for module in modules(name)}


@pytest.mark.parametrize("name", sorted(THINGS))
def test_a_public_name_is_documented_and_its_module_is_in_the_reference(
    name: str, documented: set[str]
) -> None:
    thing = THINGS[name]
    if isinstance(thing, Registry):
        assert thing.package in documented
    elif inspect.ismodule(thing):
        assert inspect.getdoc(thing)
        assert thing.__name__ in documented
    else:
        assert inspect.getdoc(thing)
        assert thing.__module__ in documented


@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
def test_a_rule_can_be_had_by_its_class_and_says_what_it_is_in_the_reference(
    kind: type, documented: set[str]
) -> None:
    assert getattr(metalearn_lib, kind.__name__) is kind
    assert kind.__name__ in dir(metalearn_lib)
    text = vars(kind)["__doc__"] or f"{kind.__name__}("
    assert not text.startswith(f"{kind.__name__}("), "a dataclass without a docstring is given its signature"
    assert kind.__module__ in documented


def test_the_reference_leaves_out_only_the_edge(documented: set[str]) -> None:
    edge = {"__main__", "cli", "report", "web", "widgets"}
    core = {each.name for each in iter_modules(metalearn_lib.__path__)} - edge
    assert {f"{PACKAGE}.{each}" for each in core} == {each for each in documented if each.count(".") == 1}


def test_registries_are_what_rules_are_found_in() -> None:
    kinds = {name for name, thing in THINGS.items() if isinstance(thing, Registry)}
    assert kinds == {"DIRECTIONS", "ESTIMATORS", "INPUTS", "RATES", "SHIFTS", "TASKS"}


def test_importing_the_package_imports_nothing_large() -> None:
    program = (
        "import sys, metalearn_lib; large = {'torch', 'numpy', 'pandas', 'matplotlib', 'scipy'};"
        "assert not large & set(sys.modules); metalearn_lib.InnerLoop; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_that_there_is_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Polyaq'"):
        _ = metalearn_lib.Polyaq
    with pytest.raises(ImportError, match="Polyaq"):
        exec("from metalearn_lib import Polyaq")


def test_type_checkers_are_told_of_the_names_that_there_are() -> None:
    stub = Path(metalearn_lib.__file__).with_suffix(".pyi").read_text()
    assert len(re.findall(r" import (\w+) as \1$", stub, re.MULTILINE)) == len(metalearn_lib.__all__)


def test_a_docstring_becomes_code_equations_and_citations() -> None:
    docstring = """A step of |u| along `grad_norm`, as in *that*.

    rate_t = min(loss, max_)

        as long as |grad| > 0

With a rate of 0 it stands still.

Args:
    max_lr: the bound, see `c_`;
        a number.

References: Polyak (1987) [polyak1987introduction] and
[polyak1987introduction]."""
    assert (
        as_rst(docstring)
        == r"""A step of \|u\| along `grad_norm`, as in \*that\*.

.. code-block:: none

    rate_t = min(loss, max_)

        as long as |grad| > 0

With a rate of 0 it stands still.

Args:
    max_lr: the bound, see `c_`;
        a number.

References: Polyak (1987) :cite:`polyak1987introduction` and
:cite:`polyak1987introduction`."""
    )
