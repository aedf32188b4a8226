"""A neural network that learns to set the learning rate of another.

The names that `__init__.pyi` lists can be had from here, and every rate, direction, shift, task family, estimator
and input by the name of its class. Each is imported when it is first asked for, so that `import metalearn_lib` costs
nothing.
"""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_MODULES = {
    each.name: line.module for line in _STUB.body if isinstance(line, ast.ImportFrom) for each in line.names
}

__all__ = sorted(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        module = import_module(str(_MODULES[name]))
        return import_module(f"{__name__}.{name}") if module.__name__ == __name__ else getattr(module, name)
    if name[:1].isupper() and name in (rules := _rules()):
        return rules[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)


def __dir__() -> list[str]:
    return ["__version__", *__all__, *_rules()]


def _rules() -> dict[str, type]:
    registries: list[Any] = [__getattr__(name) for name in _MODULES if name.endswith("S") and name.isupper()]
    return {kind.__name__: kind for registry in registries for kind in registry.values()}
