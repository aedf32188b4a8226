"""What is printed about: views of buffers, expressions over them, and loops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """Elements of a buffer; never printed until something reads them."""

    buffer: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def contiguous(self) -> bool:
        expected = contiguous_strides(self.shape)
        return all(size == 1 or a == b for size, a, b in zip(self.shape, self.strides, expected, strict=True))

    def replace(self, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> View:
        return View(self.buffer, self.offset + offset, tuple(shape), tuple(strides))

    def index(self, shape: Sequence[int], names: Sequence[str]) -> str:
        """The element at `names` of `shape`, broadcast as torch does."""
        return self.at(self.terms(shape, names))

    def terms(self, shape: Sequence[int], names: Sequence[str]) -> list[str]:
        """What is added to the offset."""
        sizes = zip(self.shape, self.strides, names[len(shape) - len(self.shape) :], strict=True)
        return [
            name if stride == 1 else f"{name}*{stride}"
            for size, stride, name in sizes
            if size != 1 and stride
        ]

    def at(self, terms: Sequence[str]) -> str:
        offset = [str(self.offset)] if self.offset else []
        return f"@{self.buffer}@[{'+'.join([*offset, *terms]) or '0'}]"


@dataclass(frozen=True)
class Lazy:
    """An element-wise expression that its only reader will take into its own loop."""

    shape: tuple[int, ...]
    template: str
    operands: tuple[View, ...]


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, size = [], 1
    for length in reversed(shape):
        strides.append(size)
        size *= length
    return tuple(reversed(strides))


def nest(
    shape: Sequence[int], statement: Callable[[list[str]], str], last_step: int = 1, letter: str = "i"
) -> str:
    """Loops over `shape` around `statement(names)`; an axis of length 1 gets no loop."""
    live = [axis for axis, size in enumerate(shape) if size != 1]
    names = [f"{letter}{axis}" if axis in live else "0" for axis in range(len(shape))]
    text = ""
    for axis in live:
        step = f"+={last_step}" if axis == live[-1] and last_step > 1 else "++"
        text += f"for(let {names[axis]}=0;{names[axis]}<{shape[axis]};{names[axis]}{step})"
    return text + "{" + statement(names) + ";}"
