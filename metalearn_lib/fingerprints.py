"""What a stored result was made by, as a short text that changes when anything that decides the result does."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_PACKAGE = Path(__file__).parent


def fingerprint(*values: Any) -> str:
    """Sixteen hexadecimal digits of everything that `values` hold: dataclasses and tuples by their fields, tensors by
    their bytes, functions by their name.

    Raises:
        TypeError: for a value whose content cannot be told, as an open file or a lambda.
    """
    digest = hashlib.sha256()
    for piece in _pieces(values):
        digest.update(piece.encode() if isinstance(piece, str) else piece)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _pieces(value: Any) -> Iterable[str | bytes]:
    yield type(value).__qualname__
    if value is None or isinstance(value, (bool, int, float, str)):
        yield repr(value)
    elif isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}"
        yield value.detach().contiguous().numpy().tobytes()
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield field.name
            yield from _pieces(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from _pieces((key, value[key]))
    elif isinstance(value, (tuple, list)):
        yield str(len(value))
        for each in value:
            yield from _pieces(each)
    elif isinstance(value, partial):
        yield from _pieces((value.func, value.args, value.keywords))
    elif callable(value) and "<" not in (name := getattr(value, "__qualname__", "<")):
        yield f"{value.__module__}.{name}"
    else:
        raise TypeError(
            f"{value!r} has no fingerprint; use numbers, texts, tensors, dataclasses or named functions."
        )


@cache
def code_fingerprint(modules: tuple[str, ...]) -> str:
    """The fingerprint of these modules' code, without comments and docstrings, and of torch's version.

    Args:
        modules: files or folders inside the package, as `("inner_loop.py", "shifts")`.
    """
    texts = [torch.__version__.split("+")[0]]
    for module in modules:
        path = _PACKAGE / module
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            text = file.read_text(encoding="utf-8")
            texts.append(_code(text) if file.suffix == ".py" else " ".join(re.sub("//.*", "", text).split()))
    return fingerprint(texts)


def _code(source: str) -> str:
    """What a module does, in a form that no version of Python writes differently."""
    words = []
    for node in ast.walk(_WithoutDocstrings().visit(ast.parse(source))):
        values = [value for _, value in ast.iter_fields(node) if isinstance(value, (str, int, float, bytes))]
        words.append(f"{type(node).__name__}{values}")
    return " ".join(words)


class _WithoutDocstrings(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node
