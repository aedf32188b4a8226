"""A WebAssembly assembler for two kinds of function of fixed shape, two float64 lanes at a time: matrix products

    C[i, j] = [C[i, j] +] sum_q A[i, q] B[q, j]

and the gate of a rectifier and of its gradient, whose branch a processor cannot foretell,

    C[i] = 0 where A[i] <= 0, else B[i]

Each product is blocked so that a small tile of C stays in registers while `q` runs. Addresses are the parameters;
strides and sizes are constants of the code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

_LANES, _BYTES = 2, 8
_I32, _V128 = 0x7F, 0x7B


class Product(NamedTuple):
    """Shape `(m, k) @ (k, n)`, the strides of A and B in elements, and whether the product is added to what C holds."""

    m: int
    k: int
    n: int
    a: tuple[int, int]
    b: tuple[int, int]
    adds: bool

    @property
    def along_columns(self) -> bool:
        """Whether two neighbours in a row of B, and of C, can share a vector."""
        return self.b[1] == 1 and self.n % _LANES == 0

    @property
    def along_sum(self) -> bool:
        """Whether two neighbours of the sum can share a vector."""
        return self.a[1] == self.b[0] == 1 and self.k % _LANES == 0

    @property
    def fits(self) -> bool:
        """Whether it is worth a function of its own."""
        return self.m * self.k * self.n >= 1024 and (self.along_columns or self.along_sum)


class Gate(NamedTuple):
    """Elements that lie in a row."""

    size: int

    @property
    def fits(self) -> bool:
        """Whether it is worth a function of its own."""
        return self.size >= 256 and self.size % _LANES == 0


def module(jobs: list[Product | Gate]) -> bytes:
    """A module that imports `m.m`, a memory, and exports one function per job, named by its place in the list.

    The functions take byte addresses of A, B and C.
    """
    bodies = [
        _gate(job) if isinstance(job, Gate) else _columns(job) if job.along_columns else _sums(job)
        for job in jobs
    ]
    signature = b"\x60" + _vector([bytes([_I32])] * 3) + _vector([])
    exports = [_name(str(number)) + b"\x00" + _unsigned(number) for number in range(len(jobs))]
    return (
        b"\x00asm\x01\x00\x00\x00"
        + _section(1, _vector([signature]))
        + _section(2, _vector([_name("m") + _name("m") + b"\x02\x00\x00"]))
        + _section(3, _vector([_unsigned(0)] * len(jobs)))
        + _section(7, _vector(exports))
        + _section(10, _vector([_unsigned(len(body)) + body for body in bodies]))
    )


# locals: the three parameters, then loop counters and moving addresses, then vectors
_A, _B, _C, _ROW, _COLUMN, _STEP, _PA, _PB, _PC = range(9)
_FIRST_VECTOR = 9


def _columns(product: Product) -> bytes:
    """A tile is `rows` rows by `vectors` pairs of columns; each entry of A is spread over both lanes."""
    m, k, n, (a_row, a_step), (b_step, _), adds = product
    rows, vectors = _divisor(m, 4), _divisor(n // _LANES, 2)
    unroll = _divisor(k, 4)
    tile = [(row, vector) for row in range(rows) for vector in range(vectors)]
    entry, loaded = len(tile), len(tile) + 1  # places of the vectors behind those of the tile

    def multiply(step: int) -> bytes:
        code = b"".join(
            _load(_PB, step * b_step + vector * _LANES) + _set(loaded + vector) for vector in range(vectors)
        )
        for row in range(rows):
            code += _load64_splat(_PA, row * a_row + step * a_step) + _set(entry)
            for vector in range(vectors):
                code += _accumulate(row * vectors + vector, entry, loaded + vector)
        return code

    inner = b"".join(multiply(step) for step in range(unroll))
    inner += _advance(_PA, unroll * a_step) + _advance(_PB, unroll * b_step)
    block = b"".join(
        (_load(_PC, row * n + vector * _LANES) if adds else _ZERO) + _set(row * vectors + vector)
        for row, vector in tile
    )
    block += _copy(_A, _PA) + _at(_B, _COLUMN, _LANES * vectors, _PB) + _loop(_STEP, k // unroll, inner)
    block += b"".join(
        _get(_PC) + _get_vector(row * vectors + vector) + _store(row * n + vector * _LANES)
        for row, vector in tile
    )
    block += _advance(_PC, vectors * _LANES)
    outer = _loop(_COLUMN, n // (vectors * _LANES), block)
    outer += _advance(_A, rows * a_row) + _advance(_PC, (rows - 1) * n)
    return _function(_copy(_C, _PC) + _loop(_ROW, m // rows, outer), loaded + vectors)


def _sums(product: Product) -> bytes:
    """A tile is `rows` by `columns` entries of C; the lanes hold the sums over even and odd `q` until the end."""
    m, k, n, (a_row, _), (_, b_column), adds = product
    rows, columns = _divisor(m, 4), _divisor(n, 2)
    unroll = _divisor(k // _LANES, 2)
    tile = [(row, column) for row in range(rows) for column in range(columns)]
    entry, loaded = len(tile), len(tile) + 1

    def multiply(step: int) -> bytes:
        code = b"".join(
            _load(_PB, column * b_column + step * _LANES) + _set(loaded + column) for column in range(columns)
        )
        for row in range(rows):
            code += _load(_PA, row * a_row + step * _LANES) + _set(entry)
            for column in range(columns):
                code += _accumulate(row * columns + column, entry, loaded + column)
        return code

    inner = b"".join(multiply(step) for step in range(unroll))
    inner += _advance(_PA, unroll * _LANES) + _advance(_PB, unroll * _LANES)
    block = b"".join(_ZERO + _set(place) for place in range(len(tile)))
    block += (
        _copy(_A, _PA)
        + _at(_B, _COLUMN, columns * b_column, _PB)
        + _loop(_STEP, k // (unroll * _LANES), inner)
    )
    for row, column in tile:
        both = _get_vector(row * columns + column)
        total = both + b"\xfd\x21\x00" + both + b"\xfd\x21\x01" + b"\xa0"  # lane 0 + lane 1
        if adds:
            total = total + _get(_PC) + b"\x2b\x03" + _unsigned((row * n + column) * _BYTES) + b"\xa0"
        block += _get(_PC) + total + b"\x39\x03" + _unsigned((row * n + column) * _BYTES)
    block += _advance(_PC, columns)
    outer = _loop(_COLUMN, n // columns, block) + _advance(_A, rows * a_row) + _advance(_PC, (rows - 1) * n)
    return _function(_copy(_C, _PC) + _loop(_ROW, m // rows, outer), loaded + columns)


def _gate(gate: Gate) -> bytes:
    vectors = _divisor(gate.size // _LANES, 4)
    below = b"\xfd\x4b"  # f64x2.le; not so for what is no number, which stays
    keep = b"\xfd\x4f"  # v128.andnot
    inner = b"".join(
        _get(_PC) + _load(_PB, place) + _load(_PA, place) + _ZERO + below + keep + _store(place)
        for place in range(0, vectors * _LANES, _LANES)
    )
    inner += b"".join(_advance(pointer, vectors * _LANES) for pointer in (_PA, _PB, _PC))
    start = _copy(_A, _PA) + _copy(_B, _PB) + _copy(_C, _PC)
    return _function(start + _loop(_STEP, gate.size // (vectors * _LANES), inner), 1)


def _divisor(number: int, limit: int) -> int:
    return next(divisor for divisor in range(min(limit, number), 0, -1) if number % divisor == 0)


def _unsigned(number: int) -> bytes:
    code = b""
    while True:
        number, low = number >> 7, number & 0x7F
        code += bytes([low | 0x80 if number else low])
        if not number:
            return code


def _signed(number: int) -> bytes:
    """LEB128 of a number that is not negative."""
    code = _unsigned(number)
    return code if not code[-1] & 0x40 else code[:-1] + bytes([code[-1] | 0x80, 0])


def _vector(items: list[bytes]) -> bytes:
    return _unsigned(len(items)) + b"".join(items)


def _name(text: str) -> bytes:
    return _unsigned(len(text)) + text.encode()


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + _unsigned(len(content)) + content


def _function(code: bytes, num_vectors: int) -> bytes:
    counters = _FIRST_VECTOR - 3
    kinds = [_unsigned(counters) + bytes([_I32]), _unsigned(num_vectors) + bytes([_V128])]
    return _vector(kinds) + code + b"\x0b"


def _get(local: int) -> bytes:
    return b"\x20" + _unsigned(local)


def _get_vector(place: int) -> bytes:
    return _get(_FIRST_VECTOR + place)


def _set(place: int) -> bytes:
    return b"\x21" + _unsigned(_FIRST_VECTOR + place)


def _copy(source: int, target: int) -> bytes:
    return _get(source) + b"\x21" + _unsigned(target)


def _advance(local: int, elements: int) -> bytes:
    return (
        _get(local) + b"\x41" + _signed(elements * _BYTES) + b"\x6a\x21" + _unsigned(local)
        if elements
        else b""
    )


def _at(base: int, index: int, elements: int, target: int) -> bytes:
    """`target = base + index * elements`"""
    offset = _get(index) + b"\x41" + _signed(elements * _BYTES) + b"\x6c"
    return _get(base) + offset + b"\x6a\x21" + _unsigned(target)


def _loop(counter: int, count: int, body: bytes) -> bytes:
    begin = b"\x41\x00\x21" + _unsigned(counter) + b"\x03\x40"
    again = (
        _get(counter)
        + b"\x41\x01\x6a\x22"
        + _unsigned(counter)
        + b"\x41"
        + _signed(count)
        + b"\x49\x0d\x00\x0b"
    )
    return begin + body + again


def _memory(opcode: int) -> Callable[[int, int], bytes]:
    return lambda local, element: _get(local) + bytes([0xFD, opcode, 3]) + _unsigned(element * _BYTES)


_load, _load64_splat = _memory(0x00), _memory(0x0A)
_ZERO = b"\xfd\x0c" + bytes(16)


def _store(element: int) -> bytes:
    return b"\xfd\x0b\x03" + _unsigned(element * _BYTES)


def _accumulate(place: int, left: int, right: int) -> bytes:
    product = _get_vector(left) + _get_vector(right) + b"\xfd\xf2\x01"
    return _get_vector(place) + product + b"\xfd\xf0\x01" + _set(place)
