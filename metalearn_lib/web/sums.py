"""Operations of torch that go over a whole axis: sums, extremes, softmax."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

from metalearn_lib.web.loops import View, contiguous_strides, nest
from metalearn_lib.web.memory import Memory


class Sums(Memory):
    """Each method is called with the shape of its result; see `generator.Printer`."""

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
