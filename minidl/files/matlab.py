"""MATLAB 5 files: arrays of numbers, cells and structs, as far as files of weights have them.

    file       128 bytes of header, of which the last two are the byte order, then elements
    element    type (4 bytes), size (4 bytes), that many bytes, zeros up to a multiple of 8
               or, where at most 4 bytes are held: type (2), size (2), 4 bytes
    packed     an element whose bytes, unpacked by zlib, are an element
    array      an element of elements: flags and class, sizes of the axes, name, and then
               numbers: the numbers, column by column, perhaps of a smaller type
               cell:    an array for each place
               struct:  the length of a field's name, the names, an array for each field

Nothing is unpacked, or made, that is larger than ``MAX_BYTES``, all together, and what a file
says of its sizes is believed only where the bytes are there. Text, sparse arrays, objects and
complex numbers are passed over.

Source: MathWorks, "MAT-File Format", version 5; from memory, and compared with files that SciPy
and MATLAB have written.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Collection
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minidl.errors import DataError, message
from minidl.files.whole import Pathlike

SIGNATURE = b"MATLAB 5.0 MAT-file"
"""The first bytes of a file."""
MAX_BYTES = 32 * 2**20
"""Largest size in bytes of a file, and of all that is unpacked or made of it."""
MAX_CELLS = 1000
"""Most cells and fields of a file, all together."""
MAX_DEPTH = 8
"""Deepest nesting of cells and structs."""

_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}
"""NumPy's names of the types of numbers, by the types of their elements."""
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}
"""NumPy's names of the types of numbers, by the classes of their arrays."""
_OPAQUE = 17
_OTHERS = {3: "object", 4: "text", 5: "sparse array", 16: "function", _OPAQUE: "opaque object"}
"""Names of the classes that are passed over."""
_CELL, _STRUCT = 1, 2
_MATRIX, _PACKED = 14, 15
_COMPLEX = 0x800


class Other(NamedTuple):
    """A value of a kind that is not read."""

    kind: str
    """The name of the kind."""


Value: TypeAlias = np.ndarray | list[Any] | dict[str, Any] | Other
"""An array of numbers; the values of cells, column by column; the fields of a struct."""


class _Damage(Exception):
    """An error that says what is wrong with a file."""


def read_matlab(path: Pathlike, wanted: Collection[str]) -> tuple[dict[str, Value], list[str]]:
    """Read variables of a MATLAB 5 file.

    Parameters
    ----------
    path : str or path
    wanted : collection of str
        Names of the variables to read; the others are not unpacked.

    Returns
    -------
    dict of str to Value
        The wanted variables that the file has.
    list of str
        Names of all of its variables.

    Raises
    ------
    DataError
        If it is missing, damaged, larger than any file of weights, or no MATLAB 5 file.
    """
    hint = ""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise _Damage(f"it has more than {MAX_BYTES:,} bytes")
        if not data.startswith(SIGNATURE):
            hint = "MATLAB 7.3 writes another format: save(..., '-v7')."
            raise _Damage("it does not begin as a MATLAB 5 file does")
        return _Reader(data).variables(wanted)
    except _Damage as cause:
        reason = str(cause)
    except OSError as cause:
        reason = cause.strerror or str(cause)
    raise DataError(message(f"cannot read {os.fspath(path)!r}", reason, hint=hint))


class _Reader:
    """A reader of one file's elements, which counts what it has made."""

    def __init__(self, data: bytes):
        if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
            raise _Damage("damaged: its header is cut off, or names no byte order")
        self.order = "<" if data[126:128] == b"IM" else ">"
        self.data = memoryview(data)
        self.left = MAX_BYTES
        self.cells_left = MAX_CELLS

    def variables(self, wanted: Collection[str]) -> tuple[dict[str, Value], list[str]]:
        """Read the wanted variables, and the names of all."""
        found: dict[str, Value] = {}
        names: list[str] = []
        at = 128
        while at < len(self.data):
            kind, body, at = self.element(self.data, at, padded=False)
            head = body
            if kind == _PACKED:
                kind, head = self.unpacked(body, 4096)
            if kind != _MATRIX:
                continue
            name = self.head(head)[2]
            names.append(name)
            if len(names) > MAX_CELLS or name in found:
                raise _Damage("damaged: it has too many variables, or one of them twice")
            if name in wanted:
                whole = self.unpacked(body, None)[1] if head is not body else body
                found[name] = self.array(whole, 0)
        return found, names

    def element(
        self, data: memoryview, at: int, padded: bool = True
    ) -> tuple[int, memoryview, int]:
        """Take an element: its type, its bytes, and the place behind it."""
        if at + 8 > len(data):
            raise _Damage("damaged: it ends within an element")
        kind, size = struct.unpack_from(f"{self.order}II", data, at)
        if kind >> 16:  # both in four bytes, then at most four bytes
            kind, size, at = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise _Damage("damaged: a small element has more than four bytes")
            return kind, data[at : at + size], at + 4
        start, end = at + 8, at + 8 + size
        if end > len(data):
            raise _Damage(f"damaged: an element claims {size:,} bytes, and fewer are there")
        return kind, data[start:end], end + (-size % 8 if padded else 0)

    def unpacked(self, body: memoryview, most: int | None) -> tuple[int, memoryview]:
        """Unpack the element inside a packed one; only its first bytes, if ``most`` is given."""
        size = max(1, self.left) if most is None else most  # 0 would be no limit
        unpacker = zlib.decompressobj()
        try:
            data = memoryview(unpacker.decompress(body, size))
            rest = most is None and (unpacker.decompress(unpacker.unconsumed_tail, 1)
                                     if not unpacker.eof else b"")
        except zlib.error as cause:
            raise _Damage(f"damaged: {cause}") from None
        if rest:
            raise _Damage(f"it unpacks to more than {MAX_BYTES:,} bytes")
        if most is not None:  # the element's end is not there
            if len(data) < 8:
                raise _Damage("damaged: it ends within an element")
            return struct.unpack_from(f"{self.order}I", data)[0], data[8:]
        if not unpacker.eof:
            raise _Damage("damaged: a packed variable is cut off")
        self.spend(len(data))
        return self.element(data, 0)[:2]

    def spend(self, size: int) -> None:
        """Count bytes that are about to be made."""
        self.left -= size
        if self.left < 0:
            raise _Damage(f"it unpacks to more than {MAX_BYTES:,} bytes")

    def head(self, data: memoryview) -> tuple[int, tuple[int, ...], str, int]:
        """Read how an array begins: flags and class, sizes, name, and where it goes on."""
        _, flags, at = self.element(data, 0)
        if len(flags) != 8:
            raise _Damage("damaged: an array's flags are not as they should be")
        word = struct.unpack_from(f"{self.order}I", flags)[0]
        sizes: bytes | memoryview = struct.pack(f"{self.order}i", 0)
        if word & 0xFF != _OPAQUE:  # a string or a table of MATLAB's has none
            _, sizes, at = self.element(data, at)
        _, name, at = self.element(data, at)
        if not 0 < len(sizes) <= 4 * 32 or len(sizes) % 4:
            raise _Damage("damaged: an array's sizes are not as they should be")
        shape = struct.unpack(f"{self.order}{len(sizes) // 4}i", sizes)
        if min(shape) < 0:
            raise _Damage(f"damaged: an array has the sizes {shape}")
        return word, shape, bytes(name[:200]).decode("latin-1"), at

    def array(self, data: memoryview, depth: int) -> Value:
        """Read an array, and what it contains."""
        if depth > MAX_DEPTH:
            raise _Damage(f"its cells are nested deeper than {MAX_DEPTH}")
        if not len(data):  # a cell in which nothing has been put
            return np.zeros((0, 0))
        word, shape, _, at = self.head(data)
        kind = word & 0xFF
        if kind == _CELL:
            return self.inner(data, at, math.prod(shape), depth)
        if kind == _STRUCT:
            return self.struct(data, at, shape, depth)
        if kind in _CLASSES and not word & _COMPLEX:
            return self.numbers(data, at, shape, _CLASSES[kind])
        return Other("complex numbers" if kind in _CLASSES else _OTHERS.get(kind, "unknown"))

    def numbers(self, data: memoryview, at: int, shape: tuple[int, ...], code: str) -> np.ndarray:
        """Read an array's numbers."""
        stored, body, _ = self.element(data, at)
        if stored not in _NUMBERS:
            raise _Damage(f"damaged: its numbers have the unknown type {stored}")
        dtype = np.dtype(self.order + _NUMBERS[stored])
        if len(body) != math.prod(shape) * dtype.itemsize:
            raise _Damage(f"damaged: an array of {shape} has {len(body):,} bytes")
        self.spend(math.prod(shape) * np.dtype(code).itemsize)
        held = np.frombuffer(body, dtype)
        with np.errstate(all="ignore"):
            values = held.astype(code)
        if not np.array_equal(values, held, equal_nan=True):
            raise _Damage(f"damaged: an array of {code} has numbers that do not fit into it")
        try:
            return values.reshape(shape, order="F")
        except ValueError:  # empty, with sizes past all memory
            raise _Damage(f"damaged: an array has the sizes {shape}") from None

    def inner(self, data: memoryview, at: int, count: int, depth: int) -> list[Value]:
        """Read the arrays inside a cell array or a struct."""
        self.cells_left -= count
        if self.cells_left < 0:
            raise _Damage(f"it has more than {MAX_CELLS:,} cells")
        values = []
        for _ in range(count):
            kind, body, at = self.element(data, at)
            if kind != _MATRIX:
                raise _Damage("damaged: a cell holds something that is no array")
            values.append(self.array(body, depth + 1))
        return values

    def struct(self, data: memoryview, at: int, shape: tuple[int, ...], depth: int) -> Value:
        """Read a struct's fields by name."""
        _, length, at = self.element(data, at)
        _, names, at = self.element(data, at)
        width = struct.unpack(f"{self.order}i", length)[0] if len(length) == 4 else 0
        if width <= 0 or len(names) % width:
            raise _Damage("damaged: the names of a struct's fields are not as they should be")
        if math.prod(shape) != 1:
            return Other("array of structs")
        pieces = [bytes(names[i : i + width]) for i in range(0, len(names), width)]
        fields = [piece.partition(b"\0")[0].decode("latin-1") for piece in pieces]
        return dict(zip(fields, self.inner(data, at, len(fields), depth), strict=True))
