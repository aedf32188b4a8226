"""`:::{definitions} kind`: what there is of one kind, each class by its own words; a new file appears by itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from textwrap import indent
from typing import Any

from sphinx.application import Sphinx

from metalearn_lib.registry import Registry
from metalearn_lib.report.api import as_rst


def write_definitions(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the classes of a kind in the place of a line `:::{definitions} its name`."""

    def written(line: re.Match[str]) -> str:
        registry = registries()[line[1]]
        for name in (registry.package, *(kind.__module__ for kind in registry.values())):
            app.env.note_dependency(str(import_module(name).__file__))  # with which the page is read again
        return f"```{{eval-rst}}\n{definitions(line[1])}\n```"

    source[0] = re.sub(r"^:::\{definitions\} (\w+)$", written, source[0], flags=re.MULTILINE)


def definitions(kind: str) -> str:
    """All classes of a kind, in reStructuredText.

    Args:
        kind: a key of `KINDS`.
    """
    return "\n".join(_definition(each, KINDS[kind](each)) for each in registries()[kind].values())


def registries() -> dict[str, Registry[Any]]:
    """By the name of their kind, the lists of all that has a name."""
    from metalearn_lib.directions import DIRECTIONS  # imported late, as torch with it
    from metalearn_lib.gradient_estimators import ESTIMATORS
    from metalearn_lib.inputs import INPUTS
    from metalearn_lib.rates import RATES
    from metalearn_lib.shifts import SHIFTS
    from metalearn_lib.tasks import TASKS

    every = (RATES, DIRECTIONS, SHIFTS, TASKS, ESTIMATORS, INPUTS)
    return dict(zip(KINDS, every, strict=True))


def _definition(kind: Any, facts: str) -> str:
    text = f"{as_rst(idea(kind))}\n\n{facts}"
    return f"**{kind.label}**, ``{kind.name}``\n{indent(text, '    ')}\n"


def idea(kind: type) -> str:
    """The first paragraph of a class's own docstring, and its first equation."""
    paragraphs = re.split(r"\n{2,}", inspect.cleandoc(kind.__doc__ or ""))
    equation = next((each for each in paragraphs[1:] if each.startswith("    ")), "")
    return "\n\n".join(filter(None, [paragraphs[0], equation]))


def _of_rule(kind: Any) -> str:
    from metalearn_lib.directions.base import Direction

    if not kind.rival:
        return "It has settings that tuning does not find, so no rival has its name."
    beside = f"; beside it ``{kind.number}``, one of {_numbers(kind.tried)}" if kind.number else ""
    untuned = issubclass(kind, Direction) and not kind.needs_tuning
    tuned = "At its defaults, or tuned where that is asked for." if untuned else f"Its rate is tuned{beside}."
    return f"``--rivals {kind.name}``. {tuned}"


def _of_shift(kind: Any) -> str:
    whole = "a whole number, " if kind.whole else ""
    why = _off_the_page().get(kind.name)
    return (
        f"``--shift {kind.name} --severity S``: {whole}{kind.lowest:g} to {kind.highest:g}, {as_rst(kind.unit)}; "
        f"{kind.identity:g} changes nothing. "
        + (f"Not in the explorer's page: {as_rst(why)}." if why else "In the explorer, too.")
    )


def _of_family(kind: Any) -> str:
    made = kind()
    return (
        f"``--family {kind.name}``: {made.num_features} features, {made.num_classes} classes, {made.num_points} "
        "training points."
    )


def _of_estimator(kind: Any) -> str:
    can = {
        "truncates": kind.truncates,
        "goes on from one outer step to the next": kind.persistent,
        "differentiates the inner loop": kind.differentiates,
        "explores, so that nothing but the network on a plain direction can be its policy": kind.explores,
    }
    told = ", ".join(what for what, does in can.items() if does)
    return f"``train --estimator {kind.name}``." + (f" It {told}." if told else "")


def _of_input(kind: Any) -> str:
    told = "A new meta-optimizer sees it" if kind.default else "Seen where it is asked for"
    return (
        f"``train --inputs {kind.name} ...``: seen from {kind.centre:g}, in steps of {kind.spread:g} ({kind.unit}), "
        f"which brings it near unit size. {told}."
    )


KINDS: dict[str, Callable[[Any], str]] = {
    "rates": _of_rule,
    "directions": _of_rule,
    "shifts": _of_shift,
    "families": _of_family,
    "estimators": _of_estimator,
    "inputs": _of_input,
}
"""What is said of each class of a kind, beside its idea."""


@cache
def _off_the_page() -> dict[str, str]:
    from metalearn_lib.web.experiment import Experiment
    from metalearn_lib.web.tracing import why_not_in_a_page

    return why_not_in_a_page(Experiment())


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
