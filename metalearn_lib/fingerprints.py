"""What a value holds, as a short text that is the same on every machine; and the classes and functions in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import partial
from typing import Any

from torch import Tensor


def fingerprint(*values: Any) -> str:
    """Sixteen hexadecimal digits of everything that `values` hold: dataclasses and tuples by their fields, tensors by
    their bytes, classes and functions by their name, and by their module's where they are not the package's.

    Fields that a dataclass does not compare, or that are at their default, do not count: a field that is added with a
    default changes no fingerprint. What a class does is not looked at; `sources` does that.

    Raises:
        TypeError: for a value whose content cannot be told, as an open file or a lambda.
    """
    digest = hashlib.sha256()
    for piece in _pieces(values):
        digest.update(piece.encode() if isinstance(piece, str) else piece)
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def objects_of(value: Any) -> Iterator[Any]:
    """The classes and functions that a value is made of."""
    if isinstance(value, partial):
        yield from objects_of((value.func, value.args, value.keywords))
    elif isinstance(value, Mapping):
        yield from objects_of(list(value.values()))
    elif isinstance(value, (tuple, list)):
        if hasattr(value, "_fields"):
            yield type(value)
        for each in value:
            yield from objects_of(each)
    elif isinstance(value, type) or hasattr(value, "__qualname__"):
        yield value
    else:
        yield type(value)
        if is_dataclass(value):
            for field in fields(value):
                yield from objects_of(getattr(value, field.name))


def _is_default(field: Field[Any], value: Any) -> bool:
    default = field.default
    if default is MISSING or type(value) is not type(default) or isinstance(value, Tensor):
        return False
    return value == default


def _name(found: Any) -> str:
    ours = found.__module__.split(".")[0] in ("metalearn_lib", "builtins")
    return found.__qualname__ if ours else f"{found.__module__}.{found.__qualname__}"


def _pieces(value: Any) -> Iterable[str | bytes]:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53:
        value = float(value)  # 4 and 4.0 ask the same
    yield _name(type(value))
    if value is None or isinstance(value, (bool, int, float, str)):
        yield repr(value)
    elif isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}"
        yield value.detach().contiguous().numpy().tobytes()
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.compare and not _is_default(field, getattr(value, field.name)):
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
    elif callable(value) and "<" not in getattr(value, "__qualname__", "<"):
        yield _name(value)
    else:
        raise TypeError(
            f"{value!r} has no fingerprint; use numbers, texts, tensors, dataclasses or named functions."
        )
