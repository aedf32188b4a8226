"""JavaScript printed from what torch would do: a traced graph in, typed-array code without dependencies out.

A function of tensors is traced by `make_fx` into a list of ATen operations of fixed shape. Each operation has one case
here. Views (slices, transposes, expansions) exist only while printing; a chain of element-wise operations
becomes one loop; a large matrix product becomes a WebAssembly function with two float64 lanes; equal loops are
printed once. Every number is a float64, so the page's results are torch's up to the order of sums.

Because the code is printed from the library's own functions there is no second definition of any of them.
"""

from __future__ import annotations

import base64
import json
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from metalearn_lib.web import wasm
from metalearn_lib.web.elementwise import expression, literal
from metalearn_lib.web.loops import Lazy, View, contiguous_strides, nest


@dataclass(frozen=True)
class Program:
    """One function of tensors, to be printed.

    Args:
        function: takes tensors, returns a sequence of tensors; no branch may depend on their values.
        inputs: example inputs, float64 or int64; only shapes and types matter.
        carry: `{output: input}`; after a run that output is copied into that input, for state that goes round.
        tracing_mode: `"fake"` never looks at a value, so that checks on values are passed over.
    """

    function: Callable[..., Sequence[Tensor]]
    inputs: Sequence[Tensor]
    carry: dict[int, int] | None = None
    tracing_mode: Literal["real", "fake"] = "real"

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
        simd: print large matrix products as WebAssembly; without it, as loops.

    Raises:
        NotImplementedError: for an operation without a case.
    """
    printer = _Printer(simd)
    bodies = {name: printer.program(program) for name, program in programs.items()}
    pages = -(-printer.top // 65536)
    lines = [
        "(() => {",
        f"const memory = new WebAssembly.Memory({{initial: {pages}}});",
        "let top = 0;",
        # buffers are handed out in the order of printing, so that the addresses are those that the printer knew
        "const F = (n) => {const v = new Float64Array(memory.buffer, top, n); top += (n + 1 >> 1) * 16; return v;};",
    ]
    if printer.products:
        code = base64.b64encode(wasm.module(list(printer.products))).decode()
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
_RESHAPES = {"_unsafe_view", "reshape", "squeeze", "unsqueeze", "view"}
_FILLS = {"empty_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "zeros": 0, "zeros_like": 0}


class _Printer:
    """State of the printing: memory handed out, kernels and products shared by all programs."""

    def __init__(self, simd: bool) -> None:
        self.simd = simd
        self.top = 0
        self.kernels: dict[tuple[str, str], str] = {}
        self.products: dict[wasm.Product, int] = {}
        self.addresses: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def program(self, program: Program) -> str:
        self.buffers: list[str] = []
        self.constants: list[str] = []
        self.body: list[str] = []
        graph = program.graph
        values: dict[str, Any] = {}
        inputs: list[View] = []
        outputs: list[View] = []
        for node in graph.graph.nodes:
            shape = tuple(node.meta["val"].shape) if isinstance(node.meta.get("val"), Tensor) else ()
            if node.op == "placeholder":
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
                f"{node.target} has no case; add one to {__name__}, and one to its test, to run this in a page."
            )
        return method(shape, *arguments, **keywords)

    # memory

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
        else:
            self.loop(target, Lazy(source.shape, "{0}", (source,)))

    def output(self, value: View | Lazy, inputs: list[View]) -> View:
        """A buffer that holds the output and nothing else."""
        view = self.view(value)
        own = view.contiguous and view.offset == 0 and view.size == self.sizes[view.buffer]
        return view if own else self.materialise(view)

    # loops

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

    # operations that are neither element-wise nor views; each is called with the shape of its result

    def _permute(self, shape: tuple[int, ...], view: View, dims: list[int]) -> View:
        return view.replace(shape, [view.strides[dim] for dim in dims])

    def _transpose(self, shape: tuple[int, ...], view: View, first: int, second: int) -> View:
        strides = list(view.strides)
        strides[first], strides[second] = strides[second], strides[first]
        return view.replace(shape, strides)

    def _t(self, shape: tuple[int, ...], view: View) -> View:
        return view.replace(shape, view.strides[::-1])

    def _expand(self, shape: tuple[int, ...], view: View, _: list[int]) -> View:
        pad = len(shape) - len(view.shape)
        kept = [
            stride if size == wanted else 0
            for size, stride, wanted in zip(view.shape, view.strides, shape[pad:], strict=True)
        ]
        return view.replace(shape, [0] * pad + kept)

    def _select(self, shape: tuple[int, ...], view: View, dim: int, index: int) -> View:
        dim %= len(view.shape)
        strides = view.strides[:dim] + view.strides[dim + 1 :]
        return view.replace(shape, strides, index % view.shape[dim] * view.strides[dim])

    def _slice(
        self,
        shape: tuple[int, ...],
        view: View,
        dim: int = 0,
        start: int | None = None,
        _: int = 0,
        step: int = 1,
    ) -> View:
        dim %= len(view.shape)
        first = range(view.shape[dim])[start or 0 :].start
        strides = [stride * (step if axis == dim else 1) for axis, stride in enumerate(view.strides)]
        return view.replace(shape, strides, first * view.strides[dim])

    def _unbind(self, _: tuple[int, ...], view: View, dim: int = 0) -> list[View]:
        dim %= len(view.shape)
        shape = view.shape[:dim] + view.shape[dim + 1 :]
        return [self._select(shape, view, dim, index) for index in range(view.shape[dim])]

    def _split_with_sizes(self, _: tuple[int, ...], view: View, sizes: list[int], dim: int = 0) -> list[View]:
        dim %= len(view.shape)
        pieces, start = [], 0
        for size in sizes:
            shape = [size if axis == dim else length for axis, length in enumerate(view.shape)]
            pieces.append(view.replace(shape, view.strides, start * view.strides[dim]))
            start += size
        return pieces

    def _cat(self, shape: tuple[int, ...], pieces: list[View | Lazy], dim: int = 0) -> View:
        target, start = self.new(shape), 0
        dim %= len(shape)
        for piece in pieces:
            part = target.replace(piece.shape, target.strides, start * target.strides[dim])
            if isinstance(piece, Lazy):
                self.loop(part, piece)
            else:
                self.copy(piece, part)
            start += piece.shape[dim]
        return target

    def _stack(self, shape: tuple[int, ...], pieces: list[View | Lazy], dim: int = 0) -> View:
        dim %= len(shape)
        views = [self.view(piece) for piece in pieces]
        if len(views) == 1:
            strides = list(views[0].strides)
            return views[0].replace(shape, [*strides[:dim], 0, *strides[dim:]])
        longer = [
            view.replace(
                [*view.shape[:dim], 1, *view.shape[dim:]], [*view.strides[:dim], 0, *view.strides[dim:]]
            )
            for view in views
        ]
        return self._cat(shape, list(longer), dim)

    def _diag_embed(self, shape: tuple[int, ...], view: View, offset: int = 0, *_: int) -> View:
        if offset:
            raise NotImplementedError(f"a diagonal {offset} off the middle has no case; only the middle has.")
        target = self.new(shape)  # memory is zero where nothing is written
        rows, columns = target.strides[-2:]
        self.copy(view, target.replace(view.shape, [*target.strides[:-2], rows + columns]))
        return target

    def _index(self, shape: tuple[int, ...], view: View, indices: list[View | None]) -> View:
        if len(indices) != 1 or indices[0] is None:
            raise NotImplementedError("only an index tensor over the first axis has a case.")
        return self._gather_rows(shape, view, indices[0])

    def _index_select(self, shape: tuple[int, ...], view: View, dim: int, index: View) -> View:
        if dim:
            raise NotImplementedError(f"index_select over axis {dim} has no case; transpose first.")
        return self._gather_rows(shape, view, index)

    def _gather_rows(self, shape: tuple[int, ...], view: View, index: View) -> View:
        target, axes = self.new(shape), len(index.shape)

        def statement(names: list[str]) -> str:
            row = f"{index.index(index.shape, names[:axes])}*{view.strides[0]}"
            rest = view.replace(view.shape[1:], view.strides[1:]).terms(shape[axes:], names[axes:])
            return f"{target.index(shape, names)}={view.at([row, *rest])}"

        self.emit(nest(shape, statement))
        return target

    def _sum(
        self, shape: tuple[int, ...], view: View, dims: list[int] | None = None, *_: Any, **__: Any
    ) -> View:
        return self.fold(shape, view, dims, "{0}", "{0}")

    def _mean(
        self, shape: tuple[int, ...], view: View, dims: list[int] | None = None, *_: Any, **__: Any
    ) -> View:
        return self.fold(shape, view, dims, "{0}", f"{{0}}/{view.size // max(1, math.prod(shape))}")

    def _amin(self, shape: tuple[int, ...], view: View, dims: list[int] | None = None, *_: Any) -> View:
        return self.fold(shape, view, dims, "{0}", "{0}", "Infinity", "Math.min({0},{1})")

    def _amax(self, shape: tuple[int, ...], view: View, dims: list[int] | None = None, *_: Any) -> View:
        return self.fold(shape, view, dims, "{0}", "{0}", "-Infinity", "Math.max({0},{1})")

    def _linalg_vector_norm(
        self, shape: tuple[int, ...], view: View, order: float = 2, dims: list[int] | None = None, *_: Any
    ) -> View:
        if order != 2:
            raise NotImplementedError(f"a vector norm of order {order} has no case; only 2 has.")
        return self.fold(shape, view, dims, "{0}*{0}", "Math.sqrt({0})")

    def fold(
        self,
        shape: tuple[int, ...],
        view: View,
        dims: list[int] | None,
        term: str,
        result: str,
        start: str = "0",
        combine: str = "{0}+{1}",
    ) -> View:
        """`term` of every element, combined over `dims`, in four parts where the innermost range allows."""
        rank = len(view.shape)
        summed = {dim % rank for dim in dims} if dims else set(range(rank))
        kept, over = [dim for dim in range(rank) if dim not in summed], sorted(summed)
        target = self.new(shape).replace(
            [view.shape[dim] for dim in kept], contiguous_strides([view.shape[d] for d in kept])
        )
        inner = view.replace([view.shape[d] for d in over], [view.strides[d] for d in over])
        if inner.contiguous:
            inner = inner.replace((inner.size,), (1,))
        lanes = 4 if inner.shape and inner.shape[-1] % 4 == 0 else 1
        outer = view.replace([view.shape[d] for d in kept], [view.strides[d] for d in kept])

        def statement(names: list[str]) -> str:
            place = outer.terms(outer.shape, names)

            def read(lane: int, inside: list[str]) -> str:
                ahead = [str(lane * inner.strides[-1])] if lane else []
                return term.format(view.at([*place, *inner.terms(inner.shape, inside), *ahead]))

            parts = [f"s{lane}" for lane in range(lanes)]
            begin = "let " + ",".join(f"{part}={start}" for part in parts)

            def add(inside: list[str]) -> str:
                return ";".join(
                    f"{part}={combine.format(part, read(lane, inside))}" for lane, part in enumerate(parts)
                )

            total = reduce(lambda left, right: combine.format(left, right), parts)
            end = f"{target.index(target.shape, names)}={result.format(f'({total})')}"
            return f"{begin};{nest(inner.shape, add, lanes, 'j')}{end}"

        self.emit(nest(target.shape, statement))
        return target.replace(shape, contiguous_strides(shape))

    def _log_softmax(self, shape: tuple[int, ...], view: View, dim: int, *_: Any) -> View:
        return self.softmax(shape, view, dim, "{0}-m-l", "const l=Math.log(s);")

    def _softmax(self, shape: tuple[int, ...], view: View, dim: int, *_: Any) -> View:
        return self.softmax(shape, view, dim, "Math.exp({0}-m)/s", "")

    def softmax(self, shape: tuple[int, ...], view: View, dim: int, result: str, before: str) -> View:
        dim %= len(shape)
        target, width = self.new(shape), shape[dim]
        others = [size for axis, size in enumerate(shape) if axis != dim]

        def statement(names: list[str]) -> str:
            def at(which: View, place: str) -> str:
                return which.index(shape, [*names[:dim], place, *names[dim:]])

            values = [f"const v{place}={at(view, str(place))};" for place in range(width)]
            top = f"const m=Math.max({','.join(f'v{place}' for place in range(width))});"
            total = f"const s={'+'.join(f'Math.exp(v{place}-m)' for place in range(width))};"
            ends = [f"{at(target, str(place))}={result.format(f'v{place}')};" for place in range(width)]
            return "".join([*values, top, total, before, *ends])

        self.emit(nest(others, statement))
        return target

    def _log_softmax_backward_data(
        self, shape: tuple[int, ...], grad: View, output: View, dim: int, *_: Any
    ) -> View:
        dim %= len(shape)
        total = self._sum((*shape[:dim], 1, *shape[dim + 1 :]), grad, [dim])
        return self.view(self.lazy(shape, "({0}-Math.exp({1})*{2})", [grad, output, total]))

    def _mm(self, shape: tuple[int, ...], left: View, right: View) -> View:
        return self.product(shape, left, right, None)

    def _addmm(self, shape: tuple[int, ...], bias: View, left: View, right: View) -> View:
        return self.product(shape, left, right, bias)

    def _bmm(self, shape: tuple[int, ...], left: View, right: View) -> View:
        return self.product(shape, left, right, None)

    def _baddbmm(self, shape: tuple[int, ...], bias: View, left: View, right: View) -> View:
        return self.product(shape, left, right, bias)

    def product(self, shape: tuple[int, ...], left: View, right: View, bias: View | None) -> View:
        """A matrix product, or one for each entry of a leading axis."""
        target = self.new(shape)
        if right.strides[-1] != 1 and right.shape[-2] < 8:
            right = self.materialise(right)  # a small matrix is cheaper to turn than to walk across
        if bias is not None:
            self.copy(self._expand(shape, bias, []), target)
        for batch in range(math.prod(shape[:-2])):
            views = (left, right, target)
            if len(shape) > 2:
                views = tuple(self._select(view.shape[1:], view, 0, batch) for view in views)
            self.matrix_product(*views, adds=bias is not None)
        return target

    def matrix_product(self, left: View, right: View, target: View, adds: bool) -> None:
        (m, k), n = left.shape, right.shape[1]
        strides = (left.strides[0], left.strides[1]), (right.strides[0], right.strides[1])
        job = wasm.Product(m, k, n, *strides, adds)
        if self.simd and job.fits:
            number = self.products.setdefault(job, len(self.products))
            places = (str(self.addresses[view.buffer] + 8 * view.offset) for view in (left, right, target))
            self.body.append(f"W[{number}]({','.join(places)});")
            return
        entry = target.index((m, n), ["i", "j"])
        terms = f"{left.index((m, k), ['i', 'q'])}*{right.index((k, n), ['q', 'j'])}"
        self.emit(
            f"for(let i=0;i<{m};i++)for(let j=0;j<{n};j++){{let s={entry if adds else 0};"
            f"for(let q=0;q<{k};q++)s+={terms};{entry}=s;}}"
        )

    def _linspace(self, shape: tuple[int, ...], start: Any, end: Any, *_: Any, **__: Any) -> View:
        (steps,) = shape
        ramp = self.constant(torch.linspace(0, 1, steps, dtype=torch.float64))
        # torch's own two halves: each is exact at its end
        half = "({2}<0.5?{0}+({1}-{0})*{2}:{1}-({1}-{0})*(1-{2}))"
        arguments = [self.view(each) if isinstance(each, Lazy) else each for each in (start, end)]
        return self.view(self.lazy(shape, half, [*arguments, ramp]))

    def _linalg_qr(self, _: tuple[int, ...], view: View, mode: str = "reduced") -> list[View]:
        """Householder reflections with LAPACK's signs."""
        size = view.shape[0]
        if view.shape != (size, size):
            raise NotImplementedError(
                f"linalg_qr of shape {view.shape} has no case; only square matrices have."
            )
        r, q = self.materialise(view), self.new(view.shape)
        self.emit(
            f"const n={size},R=@{r.buffer}@,Q=@{q.buffer}@;Q.fill(0);for(let i=0;i<n;i++)Q[i*n+i]=1;"
            "for(let c=0;c<n-1;c++){let s=0;for(let i=c+1;i<n;i++)s+=R[i*n+c]**2;if(s===0)continue;"
            "const a=R[c*n+c],b=-(Math.sign(a)||1)*Math.sqrt(a*a+s),t=(b-a)/b,v=[];"
            "for(let i=0;i<n;i++)v.push(i<c?0:i===c?1:R[i*n+c]/(a-b));"
            "for(let j=0;j<n;j++){let d=0;for(let i=c;i<n;i++)d+=v[i]*R[i*n+j];"
            "for(let i=c;i<n;i++)R[i*n+j]-=t*d*v[i];}"
            "for(let i=0;i<n;i++){let d=0;for(let j=c;j<n;j++)d+=Q[i*n+j]*v[j];"
            "for(let j=c;j<n;j++)Q[i*n+j]-=t*d*v[j];}"
            "for(let i=c+1;i<n;i++)R[i*n+c]=0;}"
        )
        return [q, r]


def _is_float(node: Any) -> bool:
    return node.meta["val"].is_floating_point()
