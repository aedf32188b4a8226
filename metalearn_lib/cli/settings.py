"""The settings of meta-training as flags, read from the text of `MetaTrainConfig`: `--help` waits for no torch."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """A field of the config."""

    name: str
    kind: type
    help: str


def settings() -> list[Setting]:
    """All fields, with what the docstring's `Args:` say of each."""
    config = Path(__file__).parents[1] / "meta_train" / "config.py"
    tree = ast.parse(config.read_text(encoding="utf-8"))
    (made,) = (each for each in tree.body if getattr(each, "name", "") == "MetaTrainConfig")
    assert isinstance(made, ast.ClassDef)
    about = arguments(ast.get_docstring(made) or "")
    found = []
    for field in made.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value:
            kind = re.match(r"\w+", ast.unparse(field.annotation))
            assert kind is not None
            text = f"{about[field.target.id].rstrip('.')} (default: {_shown(ast.literal_eval(field.value))})"
            found.append(Setting(field.target.id, getattr(builtins, kind[0]), text.replace("%", "%%")))
    return found


def arguments(docstring: str) -> dict[str, str]:
    """What the `Args:` of a docstring say, by name, each in one line."""
    part = re.search(r"^Args:\n(.*?)(?:\n\n|\Z)", inspect.cleandoc(docstring), re.M | re.S)
    pieces = re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", part[1] if part else "", re.M)
    return {name: " ".join(text.split()).replace("`", "") for name, text in pieces}


def _shown(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)
