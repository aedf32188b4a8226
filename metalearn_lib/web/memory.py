"""Where printed programs keep their numbers, and the loops that fill them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from metalearn_lib.web import wasm
from metalearn_lib.web.elementwise import literal
from metalearn_lib.web.loops import Lazy, View, contiguous_strides, nest

_GATES = {"({0}<=0?0:{0})": (0, 0), "({1}<=0?0:{0})": (1, 0)}
"""Templates of a rectifier and of its gradient, and which of their operands decides and which is kept."""


class Memory:
    """State of the printing: memory handed out, kernels and products shared by all programs."""

    def __init__(self, simd: bool) -> None:
        self.simd = simd
        self.top = 0
        self.kernels: dict[tuple[str, str], str] = {}
        self.jobs: dict[wasm.Product | wasm.Gate, int] = {}
        self.addresses: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def begin(self) -> None:
        """Begin a program of its own, in memory that the programs before it left."""
        self.buffers: list[str] = []
        self.constants: list[str] = []
        self.body: list[str] = []

    def new(self, shape: Sequence[int]) -> View:
        name = f"b{len(self.addresses)}"
        size = max(1, math.prod(shape))
        self.buffers.append(name)
        self.addresses[name], self.sizes[name] = self.top, size
        self.top += (size + 1) // 2 * 16
        return View(name, 0, tuple(shape), contiguous_strides(shape))

    def constant(self, tensor: Tensor) -> View:
        view = self.new(tuple(tensor.shape))
        numbers = tensor.double().flatten().tolist()
        if len(set(numbers)) > 1:
            self.constants.append(f"{view.buffer}.set([{','.join(map(literal, numbers))}]);")
        elif numbers and numbers[0]:
            self.constants.append(f"{view.buffer}.fill({numbers[0]!r});")
        return view

    def view(self, value: View | Lazy) -> View:
        """Where the value lies in memory, once it has been computed."""
        if isinstance(value, View):
            return value
        target = self.new(value.shape)
        self.loop(target, value)
        return target

    def materialise(self, view: View) -> View:
        target = self.new(view.shape)
        self.copy(view, target)
        return target

    def copy(self, source: View, target: View) -> None:
        if source.contiguous and target.contiguous and source.size > 8:
            whole = source.offset == 0 and math.prod(source.shape) == self.sizes[source.buffer]
            part = "" if whole else f".subarray({source.offset},{source.offset + source.size})"
            offset = f",{target.offset}" if target.offset else ""
            self.body.append(f"{target.buffer}.set({source.buffer}{part}{offset});")
        elif source.shape and source.shape[-1] > 8 and not source.strides[-1] and target.contiguous:
            self.emit(nest(source.shape[:-1], lambda names: self._fill(target, source, [*names, "0"])))
        else:
            self.loop(target, Lazy(source.shape, "{0}", (source,)))

    @staticmethod
    def _fill(target: View, source: View, names: list[str]) -> str:
        """One number for a whole row of the target."""
        first = "+".join([str(target.offset), *target.terms(source.shape, names)])
        value = source.index(source.shape, names)
        return f"@{target.buffer}@.fill({value},{first},{first}+{source.shape[-1]})"

    def job(self, job: wasm.Product | wasm.Gate, *views: View) -> None:
        """Run a function of WebAssembly; equal jobs share one."""
        number = self.jobs.setdefault(job, len(self.jobs))
        places = (str(self.addresses[view.buffer] + 8 * view.offset) for view in views)
        self.body.append(f"W[{number}]({','.join(places)});")

    def output(self, value: View | Lazy, inputs: list[View]) -> View:
        """A buffer that holds the output and nothing else."""
        view = self.view(value)
        own = view.contiguous and view.offset == 0 and view.size == self.sizes[view.buffer]
        return view if own else self.materialise(view)

    def emit(self, text: str) -> None:
        """Run `text`, in which buffers stand as @name@; equal texts share one function."""
        buffers = list(dict.fromkeys(re.findall(r"@(\w+)@", text)))
        parameters = {buffer: f"p{place}" for place, buffer in enumerate(buffers)}
        key = (",".join(parameters.values()), re.sub(r"@(\w+)@", lambda match: parameters[match[1]], text))
        kernel = self.kernels.setdefault(key, f"k{len(self.kernels)}")
        self.body.append(f"{kernel}({','.join(buffers)});")

    def lazy(self, shape: tuple[int, ...], template: str, arguments: Sequence[Any]) -> Lazy:
        """The element-wise expression, with operands' own expressions taken in where each is read once."""
        operands: list[View] = []
        pieces = []
        for place, argument in enumerate(arguments):
            once = template.count(f"{{{place}}}") == 1
            if isinstance(argument, Lazy) and not (once and math.prod(argument.shape) == math.prod(shape)):
                argument = self.view(argument)
            if isinstance(argument, Lazy) and argument.shape != shape:
                argument = self.view(argument)
            if isinstance(argument, Lazy):
                names = [f"{{{len(operands) + number}}}" for number in range(len(argument.operands))]
                pieces.append(argument.template.format(*names))
                operands += argument.operands
            elif isinstance(argument, View):
                pieces.append(f"{{{len(operands)}}}")
                operands.append(argument)
            else:
                pieces.append(literal(argument))
        return Lazy(shape, template.format(*pieces), tuple(operands))

    def loop(self, target: View, value: Lazy) -> None:
        """`target = value`, element by element; over a flat range where all lie in the same order."""
        views = [target, *value.operands]
        flat = all(view.size == 1 or (view.contiguous and view.size == target.size) for view in views)
        if flat:
            views = [view.replace((view.size,), (1,)) for view in views]
        shape = views[0].shape
        gate = wasm.Gate(target.size)
        if self.simd and flat and gate.fits and value.template in _GATES:
            self.job(gate, *(views[1 + place] for place in _GATES[value.template]), views[0])
            return
        self.emit(
            nest(
                shape,
                lambda names: (
                    views[0].index(shape, names)
                    + "="
                    + value.template.format(*(view.index(shape, names) for view in views[1:]))
                ),
            )
        )
