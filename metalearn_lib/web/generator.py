"""JavaScript printed from what torch would do: a traced graph in, typed-array code without dependencies out.

A function of tensors is traced by `make_fx` into a list of ATen operations of fixed shape. Each operation has one case
here. Views (slices, transposes, expansions) exist only while printing; a chain of element-wise operations
becomes one loop; a large matrix product, or a rectifier, becomes a WebAssembly function with two float64 lanes; equal
loops are printed once. Every number is a float64, so the page's results are torch's up to the order of sums.

Because the code is printed from the library's own functions there is no second definition of any of them.
"""

from __future__ import annotations

import base64
import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from metalearn_lib.web import wasm
from metalearn_lib.web.elementwise import expression
from metalearn_lib.web.loops import Lazy, View, contiguous_strides
from metalearn_lib.web.matrices import Matrices
from metalearn_lib.web.sums import Sums


@dataclass(frozen=True)
class Program:
    """One function of tensors, to be printed.

    Args:
        function: takes tensors, returns a sequence of tensors; no branch may depend on their values.
        inputs: example inputs, float64 or int64; only shapes and types matter.
        carry: `{output: input}`; after a run that output is copied into that input, for state that goes round.
        tracing_mode: `"fake"` never looks at a value, so that checks on values are passed over.
        reads: places of the inputs that it reads, where those of another function are traced with them; the printed
            program has these alone.
    """

    function: Callable[..., Sequence[Tensor]]
    inputs: Sequence[Tensor]
    carry: dict[int, int] | None = None
    tracing_mode: Literal["real", "fake"] = "real"
    reads: Sequence[int] | None = None

    @cached_property
    def graph(self) -> fx.GraphModule:
        """The ATen operations of the function, traced once."""
        # every input is a tensor of its own: the tracer knows inputs by identity
        inputs = [tensor.detach().clone() for tensor in self.inputs]
        graph = make_fx(lambda *tensors: list(self.function(*tensors)), tracing_mode=self.tracing_mode)(
            *inputs
        )
        graph.graph.eliminate_dead_code()
        return graph


def javascript(programs: dict[str, Program], simd: bool = True) -> str:
    """An expression: a function that builds `{name: {inputs, outputs, run}}`, inputs and outputs Float64Arrays.

    Fill the inputs, call `run()`, read the outputs; nothing is allocated after the first call.

    Args:
        simd: print large matrix products and rectifiers as WebAssembly; without it, as loops.

    Raises:
        NotImplementedError: for an operation without a case.
    """
    printer = Printer(simd)
    bodies = {name: printer.program(program) for name, program in programs.items()}
    pages = -(-printer.top // 65536)
    lines = [
        "(() => {",
        f"const memory = new WebAssembly.Memory({{initial: {pages}}});",
        "let top = 0;",
        # buffers are handed out in the order of printing, so that the addresses are those that the printer knew
        "const F = (n) => {const v = new Float64Array(memory.buffer, top, n); top += (n + 1 >> 1) * 16; return v;};",
    ]
    if printer.jobs:
        code = base64.b64encode(wasm.module(list(printer.jobs))).decode()
        lines += [
            f'const code = Uint8Array.from(atob("{code}"), c => c.charCodeAt(0));',
            "const W = new WebAssembly.Instance(new WebAssembly.Module(code), {m: {m: memory}}).exports;",
        ]
    lines += [
        f"const {name} = ({parameters}) => {{{text}}};"
        for (parameters, text), name in printer.kernels.items()
    ]
    members = [f"{json.dumps(name)}: {body}" for name, body in bodies.items()]
    return "\n".join([*lines, "return {", ",\n".join(members), "};", "})"])


_SAME = {"_to_copy", "alias", "clone", "contiguous", "detach", "lift_fresh_copy"}
_RESHAPES = {"_unsafe_view", "reshape", "squeeze", "squeeze_", "unsqueeze", "view"}
_FILLS = {"empty_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "zeros": 0, "zeros_like": 0}


class Printer(Sums, Matrices):
    """Prints programs one after the other; an operation that is not element-wise is the method of its name."""

    def program(self, program: Program) -> str:
        self.begin()
        graph = program.graph
        values: dict[str, Any] = {}
        inputs: list[View] = []
        outputs: list[View] = []
        places = count()
        reads = range(len(program.inputs)) if program.reads is None else program.reads
        for node in graph.graph.nodes:
            shape = tuple(node.meta["val"].shape) if isinstance(node.meta.get("val"), Tensor) else ()
            if node.op == "placeholder":
                if next(places) in reads:
                    values[node.name] = self.new(shape)
                    inputs.append(values[node.name])
            elif node.op == "get_attr":
                values[node.name] = self.constant(getattr(graph, node.target))
            elif node.op == "output":
                outputs = [self.output(values[each.name], inputs) for each in node.args[0]]
            else:
                values[node.name] = self.operation(node, shape, values)
        carry = {
            source: target
            for source, target in (program.carry or {}).items()
            if outputs[source] != inputs[target]
        }
        overwritten = [inputs[target] for target in carry.values()]
        outputs = [self.materialise(view) if view in overwritten else view for view in outputs]
        for source, target in carry.items():
            self.copy(outputs[source], inputs[target])
        lists = [f"[{', '.join(view.buffer for view in views)}]" for views in (inputs, outputs)]
        return (
            "(() => {"
            + f"const {','.join(f'{name}=F({self.sizes[name]})' for name in self.buffers)};"
            + "".join(self.constants)
            + f"\nreturn {{inputs: {lists[0]}, outputs: {lists[1]}, run() {{\n"
            + "\n".join(self.body)
            + "\n}};})()"
        )

    def operation(self, node: fx.Node, shape: tuple[int, ...], values: dict[str, Any]) -> Any:
        """The value of one node: a view, a lazy expression, or a list of views."""

        def value(argument: Any) -> Any:
            if isinstance(argument, fx.Node):
                return values[argument.name]
            return [value(each) for each in argument] if isinstance(argument, list | tuple) else argument

        if node.target is operator.getitem:
            return values[node.args[0].name][node.args[1]]  # type: ignore[union-attr, index]
        kind = str(node.target).removeprefix("aten.").partition(".")[0]
        arguments = [value(argument) for argument in node.args]
        keywords = {name: value(argument) for name, argument in node.kwargs.items()}
        elementwise = expression(kind, arguments, keywords)
        if elementwise is not None:
            lazy = self.lazy(shape, *elementwise)
            return lazy if len(node.users) == 1 else self.view(lazy)
        if kind in _SAME:
            if keywords.get("dtype") is torch.int64 and _is_float(node.args[0]):
                return self.view(self.lazy(shape, "Math.trunc({0})", arguments))
            return arguments[0]
        arguments = [self.view(each) if isinstance(each, Lazy) else each for each in arguments]
        if kind in _RESHAPES:
            view = arguments[0] if arguments[0].contiguous else self.materialise(arguments[0])
            return view.replace(shape, contiguous_strides(shape))
        if kind in _FILLS or kind in ("full", "full_like"):
            fill: Any = _FILLS[kind] if kind in _FILLS else arguments[1]
            return self.constant(torch.full(shape, float(fill), dtype=torch.float64))
        if kind in ("arange", "eye"):
            wanted = torch.float64 if keywords.get("dtype") is None else keywords["dtype"]
            return self.constant(getattr(torch, kind)(*arguments, dtype=wanted))
        method = getattr(self, "_" + kind.strip("_"), None)
        if method is None:
            raise NotImplementedError(
                f"{node.target} has no case; add one to views.py, sums.py or matrices.py beside {__name__}, and one to "
                "its test, to run this in a page."
            )
        return method(shape, *arguments, **keywords)


def _is_float(node: Any) -> bool:
    return node.meta["val"].is_floating_point()
