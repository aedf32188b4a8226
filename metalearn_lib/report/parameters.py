"""Refuse a wrong parameter as a notebook starts, with a sentence that says what to write instead.

papermill sets whatever it is told to, under any name. So the cell after `parameters` states the rules:

    check_parameters(
        globals(),
        shift=Real(0, 64, meaning="severity", example=2.0),
        shift_family=OneOf("translate", "scale"),
        num_instances=Integer(2, 4096),
    )

and `papermill notebooks/task_shift.ipynb out.ipynb -p shfit 2.0` ends there.
"""

from __future__ import annotations

import difflib
import math
import numbers
import reprlib
import shlex
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from metalearn_lib.registry import Registry

# what papermill can inject; a module, a function or a class is no parameter
_LITERALS = (bool, int, float, complex, str, bytes, list, tuple, dict, set, type(None))


class Rule(Protocol):
    """What a parameter may be."""

    def check(self, name: str, value: Any) -> Any:
        """Return the value as the notebook should have it, or raise a ValueError."""
        ...


@dataclass(frozen=True)
class Real:
    """A finite number in [low, high]; it comes back as a float.

    Args:
        low: the least value allowed.
        high: the greatest value allowed.
        meaning: what the number is, for the message; the parameter's name by default.
        example: a value to suggest; the nearest allowed one by default.
    """

    low: float
    high: float
    meaning: str = ""
    example: float | None = None

    def check(self, name: str, value: Any) -> float:
        return float(_within(self, name, value, "a finite number"))


@dataclass(frozen=True)
class Integer:
    """A whole number in [low, high]; 8.0 passes, and comes back as 8. The arguments are those of `Real`."""

    low: int
    high: int
    meaning: str = ""
    example: int | None = None

    def check(self, name: str, value: Any) -> int:
        _within(self, name, value, "a whole number")
        if value != int(value):
            raise ValueError(f"{_shown(name, value)} is not a whole number; {_remedy(name, round(value))}")
        return int(value)


@dataclass(frozen=True, init=False)
class OneOf:
    """One of a few strings."""

    choices: tuple[str, ...]

    def __init__(self, *choices: str) -> None:
        object.__setattr__(self, "choices", choices)

    def check(self, name: str, value: Any) -> str:
        if isinstance(value, str) and value in self.choices:
            return value
        near = difflib.get_close_matches(str(value), self.choices, n=1) or self.choices
        choices = ", ".join(self.choices)
        raise ValueError(
            f"{_shown(name, value)} is unknown: it must be one of {choices}; {_remedy(name, near[0])}"
        )


@dataclass(frozen=True)
class Known:
    """One class of a registry, by its name there, or `module:Name` of one from outside."""

    registry: Registry[Any]

    def check(self, name: str, value: Any) -> str:
        if isinstance(value, str) and ":" in value:
            return Each(self.registry.find).check(name, value)[0]
        return OneOf(*self.registry).check(name, value)


@dataclass(frozen=True, init=False)
class SomeOf:
    """A list of some of a few strings, perhaps empty; one string alone stands for a list of it."""

    choices: tuple[str, ...]

    def __init__(self, *choices: str) -> None:
        object.__setattr__(self, "choices", choices)

    def check(self, name: str, value: Any) -> list[str]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, (list, tuple)):
            raise ValueError(f"{_shown(name, value)} is no list of names; {_remedy(name, self.choices[0])}")
        return [OneOf(*self.choices).check(name, each) for each in values]


@dataclass(frozen=True)
class Boolean:
    """True or False, and neither 1 nor "yes"."""

    def check(self, name: str, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        raise ValueError(f"{_shown(name, value)} is neither True nor False; {_remedy(name, True)}")


@dataclass(frozen=True)
class Each:
    """A list of strings, perhaps empty, each of which a function understands; one string alone stands for a list of it.

    Args:
        understand: raises a ValueError that says what is wrong with one.
    """

    understand: Callable[[str], Any]

    def check(self, name: str, value: Any) -> list[str]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, (list, tuple)) or not all(isinstance(each, str) for each in values):
            raise ValueError(f"{_shown(name, value)} is no list of names; {_remedy(name, 'module:Name')}")
        for each in values:
            try:
                self.understand(each)
            except ValueError as fault:
                raise ValueError(f"{_shown(name, value)}: {fault}") from fault
        return list(values)


@dataclass(frozen=True)
class ListOf:
    """A list of at least one value, each of which a rule allows; one value alone stands for a list of it."""

    rule: Rule

    def check(self, name: str, value: Any) -> list[Any]:
        values = value if isinstance(value, (list, tuple)) else [value]
        if not values:
            raise ValueError(f"{_shown(name, value)} is empty; name at least one value")
        return [self.rule.check(name, each) for each in values]


# a plain dictionary would be taken for a parameter of the notebook that imports it
SIZES: Mapping[str, Rule] = MappingProxyType(
    {
        "num_instances": Integer(2, 4096, example=128),
        "num_tuning": Integer(2, 1024, example=64),
        "num_meta_seeds": Integer(1, 5, example=5),
        "workers": Integer(0, 256, example=0),
    }
)
"""How large a page's contest is; all pages of the contest take these parameters."""


def check_parameters(namespace: MutableMapping[str, Any], **rules: Rule) -> None:
    """Check every parameter, and that there is no other: a misspelt name would otherwise do nothing at all.

    Numbers are written back as their rule returns them. What is not declared and holds a plain literal is
    taken for a misspelt parameter, except names with a leading underscore and IPython's own. So call this
    right after the parameters, before the notebook has variables of its own.

    Args:
        namespace: the notebook's `globals()`.
        rules: for each parameter, what it may be.

    Raises:
        ValueError: with one sentence for each fault.
    """
    faults: list[str] = []
    for name in [name for name in namespace if name not in rules]:
        value = namespace[name]
        of_ipython = name in ("In", "Out") and value is namespace.get({"In": "_ih", "Out": "_oh"}[name])
        if name.startswith("_") or of_ipython or not isinstance(value, _LITERALS):
            continue
        near = difflib.get_close_matches(name, rules, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(rules)}"
        faults.append(f"{_shown(name, value)}: there is no parameter {name!r}; {hint}")
    for name, rule in rules.items():
        if name not in namespace:
            faults.append(f"{name} has no value; give it one in the cell tagged `parameters`")
            continue
        try:
            namespace[name] = rule.check(name, namespace[name])
        except ValueError as fault:
            faults.append(str(fault))
    if faults:
        raise ValueError("\n".join(faults))


def _within(rule: Real | Integer, name: str, value: Any, kind: str) -> Any:
    """Return the value if it is a finite number in the interval; raise a ValueError otherwise."""
    example = rule.low if rule.example is None else rule.example
    number: Any = value
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        fault = f"is of type {type(value).__name__}, not {kind}"
    elif isinstance(value, float) and not math.isfinite(value):
        fault = f"is not {kind}"
    elif not rule.low <= number <= rule.high:
        fault = "is out of range"
        if rule.example is None:
            example = rule.low if number < rule.low else rule.high
    else:
        return number
    interval = f"{rule.meaning or name} must lie in [{rule.low}, {rule.high}]"
    raise ValueError(f"{_shown(name, value)} {fault}: {interval}; {_remedy(name, example)}")


def _shown(name: str, value: Any) -> str:
    return f"{name}={reprlib.repr(value)}"


def _remedy(name: str, example: Any) -> str:
    return f"pass e.g. -p {name} {shlex.quote(str(example))}"
