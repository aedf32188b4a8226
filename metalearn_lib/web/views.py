"""Operations of torch that rearrange elements; most print nothing, since a view is only another way to read."""

from __future__ import annotations

from metalearn_lib.web.loops import Lazy, View, nest
from metalearn_lib.web.memory import Memory


class Views(Memory):
    """Each method is called with the shape of its result; see `generator.Printer`."""

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

    def _split(self, shape: tuple[int, ...], view: View, size: int, dim: int = 0) -> list[View]:
        length = view.shape[dim % len(view.shape)]
        sizes = [min(size, length - start) for start in range(0, length, size)]
        return self._split_with_sizes(shape, view, sizes, dim)

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

    def _diagonal(self, shape: tuple[int, ...], view: View, offset: int = 0, *_: int) -> View:
        if offset or len(view.shape) != 2:
            raise NotImplementedError("a diagonal has a case where it is a matrix's own, in the middle.")
        return view.replace(shape, [sum(view.strides)])

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
