"""What there is of one kind, by name: each in a file of its own, found by one line, or brought from outside."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar, Generic, TypeVar

Kind = TypeVar("Kind", bound=type)


class Named:
    """A class with a name for command lines and a label for tables, made from its own where it gives none.

    A class called `LayerRates` is `layer_rates`, in tables "layer rates".
    """

    name: ClassVar[str]
    label: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = re.sub("(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()
        if "label" not in vars(cls):
            cls.label = cls.name.replace("_", " ")


class Registry(Mapping[str, Kind], Generic[Kind]):
    """The classes of one kind, by the `name` that each gives itself.

    Adding one is a file beside the others and its module's name in the package's list. A class from outside is asked
    for as `module:Name`, by whoever can import it, and needs no entry.

    Args:
        base: `module:Name` of what all of them are.
        modules: files of the package, in the order in which lists show their classes.
    """

    def __init__(self, base: str, modules: str) -> None:
        self.package, self.base_name = base.split(":")[0].rpartition(".")[0], base
        self.modules = tuple(modules.split())

    @cached_property
    def base(self) -> type:
        module, name = self.base_name.split(":")
        return getattr(import_module(module), name)

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        kinds: dict[str, Kind] = {}
        for name in self.modules:
            module = import_module(f"{self.package}.{name}")
            for kind in vars(module).values():
                if self.lists(kind) and kind.__module__ == module.__name__:
                    if kind.name in kinds:
                        raise ValueError(
                            f"{kind.__module__} and {kinds[kind.name].__module__} both call a "
                            f"{self.base.__name__} {kind.name!r}; give one of them another name."
                        )
                    kinds[kind.name] = kind
        return kinds

    def lists(self, kind: Any) -> bool:
        """Whether `kind` is a class of the kind that stands here, and can be made."""
        if not isinstance(kind, type) or kind is self.base or inspect.isabstract(kind):
            return False
        return issubclass(kind, self.base)

    def __getitem__(self, name: str) -> Kind:
        """The class called `name`, or `module:Name`.

        Raises:
            KeyError: for a name that there is not; `find` says it in a sentence.
        """
        return from_outside(name, self) if ":" in name else self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    def find(self, name: str) -> Kind:
        """The class called `name`, or `module:Name` of one from outside.

        Raises:
            ValueError: for a name that there is not, a module that cannot be imported, or a class of another kind.
        """
        if ":" in name:
            return from_outside(name, self)
        if name in self._kinds:
            return self._kinds[name]
        near = difflib.get_close_matches(name, self._kinds, 1)
        meant = f"did you mean {near[0]!r}? There are" if near else "use one of"
        raise ValueError(
            f"{self.what} {name!r} is unknown; {meant} {', '.join(self)}, or module:Name for one of your own."
        )

    def known(self) -> list[Kind]:
        """The classes that are listed, and then those from outside that have been imported."""
        found: list[Any] = list(self.values())
        left: list[type] = [self.base]
        while left:
            left += (kinds := left.pop().__subclasses__())
            found += [kind for kind in kinds if kind not in found and self.lists(kind)]
        return found

    @property
    def what(self) -> str:
        """What one of them is, in words."""
        return "".join(f" {c.lower()}" if c.isupper() else c for c in self.base.__name__).strip()


def from_outside(name: str, *registries: Registry[Any]) -> Any:
    """The class that `module:Name` names, of a kind that one of `registries` lists.

    Raises:
        ValueError: for a module that cannot be imported, a name that it has not, or a class of another kind.
    """
    kind = " or ".join(each.what for each in registries)
    path, _, attribute = name.partition(":")
    try:
        module = import_module(path)
    except ImportError as fault:
        raise ValueError(
            f"{name!r}: the module {path!r} cannot be imported ({fault}); is it on PYTHONPATH, or in this folder?"
        ) from fault
    found = getattr(module, attribute, None)
    if any(each.lists(found) for each in registries):
        return found
    if found is None:
        there = [each for each, value in vars(module).items() if any(one.lists(value) for one in registries)]
        raise ValueError(
            f"{name!r}: {path!r} has no {attribute!r}; it has {', '.join(there) or f'no {kind}'}."
        )
    bases = " or ".join(each.base_name for each in registries)
    raise ValueError(
        f"{name!r} is no {kind}: it must be a class derived from {bases} with every method written out."
    )
