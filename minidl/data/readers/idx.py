"""IDX files, the format of MNIST: a header of big-endian sizes, then the numbers.

    bytes 0, 1   0
    byte 2       type of the numbers (0x08: uint8, ...)
    byte 3       number of axes
    then         the size of each axis, 4 bytes each
    then         the numbers, row by row

The header says how many bytes follow, so no more than that is ever read or
unpacked: a small file cannot fill the memory.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from minidl.errors import ArgumentError, DataError, message
from minidl.files.whole import Pathlike

TYPES: dict[int, np.dtype] = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
"""Types of numbers by their code in byte 2."""
MAX_BYTES = 2**31
"""Largest number of bytes that a file may claim to hold."""
READ_SIZE = 2**24
"""Bytes read at once, so that a short file that claims much takes little memory."""


def read_idx(path: Pathlike) -> np.ndarray:
    """Read the array of an IDX file, plain or compressed (.gz), in the machine's byte order.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing or not a whole IDX file.
    """
    name = os.fspath(path)
    try:
        with gzip.open(path, "rb") if name.endswith(".gz") else open(path, "rb") as file:
            return _read(file, name)
    except FileNotFoundError:
        raise DataError(f"read_idx: there is no file {name!r}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        raise DataError(
            message(
                f"read_idx: {name!r} is damaged: {cause}",
                hint="copy or download it again.",
            )
        ) from None
    except OSError as cause:
        raise DataError(f"read_idx: cannot read {name!r}: {cause}") from None


def _read(file: io.BufferedIOBase, name: str) -> np.ndarray:
    magic = _bytes(file, 4, name, "the header")
    if magic[:2] != b"\0\0":
        hint = "it is compressed; its name should end in .gz." if magic[:2] == b"\x1f\x8b" else ""
        raise DataError(
            message(
                f"read_idx: {name!r} is not an IDX file",
                f"it begins with {magic[:2].hex(' ')}, not with 00 00",
                hint=hint,
            )
        )
    if magic[2] not in TYPES:
        raise DataError(f"read_idx: {name!r} has the unknown type of numbers 0x{magic[2]:02x}")
    dtype, axes = TYPES[magic[2]], magic[3]
    shape = struct.unpack(f">{axes}I", _bytes(file, 4 * axes, name, "the sizes"))
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise DataError(
            message(
                f"read_idx: {name!r} claims to hold {size:,} bytes",
                f"its sizes are {shape}; at most {MAX_BYTES:,} are read",
            )
        )
    content = _bytes(file, size, name, "the numbers")
    if file.read(1):
        raise DataError(
            message(
                f"read_idx: {name!r} is longer than its header says",
                f"the header says {shape} of {dtype.name}, {size:,} bytes",
            )
        )
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError as cause:  # too many axes, or empty with sizes beyond all memory
        raise DataError(f"read_idx: {name!r} has sizes that NumPy cannot hold: {cause}") from None
    return array.astype(dtype.newbyteorder("="), copy=False)


def _bytes(file: io.BufferedIOBase, count: int, name: str, what: str) -> bytearray:
    content = bytearray()
    while piece := file.read(min(READ_SIZE, count - len(content))):
        content += piece
    if len(content) < count:
        raise DataError(
            message(
                f"read_idx: {name!r} ends within {what}",
                f"{count:,} bytes should follow there, {len(content):,} do",
                hint="the file is truncated; copy or download it again.",
            )
        )
    return content


def write_idx(path: Pathlike, array: np.ndarray) -> None:
    """Write an array as an IDX file, compressed if its name ends in .gz.

    Raises
    ------
    ArgumentError
        If IDX has no such type of numbers, or they are more than ``read_idx`` reads.
    """
    array = np.asarray(array)
    codes = {dtype.newbyteorder("="): code for code, dtype in TYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        raise ArgumentError(
            f"write_idx: IDX cannot hold {array.dtype}; it has {[str(t) for t in codes]}"
        )
    if array.nbytes > MAX_BYTES:
        raise ArgumentError(
            f"write_idx: the array has {array.nbytes:,} bytes; at most {MAX_BYTES:,} are written"
        )
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(TYPES[code]).tobytes()
    Path(path).write_bytes(
        gzip.compress(content, mtime=0) if os.fspath(path).endswith(".gz") else content
    )
