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
import math
import os
import struct
import zlib
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np

from minidl.errors import ArgumentError, DataError, message
from minidl.files.whole import Pathlike

Bytes: TypeAlias = IO[bytes] | gzip.GzipFile
"""A file that is open, plain or compressed."""
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
GZIP = b"\x1f\x8b"
"""The first bytes of a compressed file."""
UNPACKED = 100
"""Most bytes that a byte of a compressed file is believed to hold. MNIST's holds five."""
SMALL = 2**24
"""Number of bytes up to which a compressed file may be as small as it likes."""
READ_SIZE = 2**20
"""Bytes read at once, so that a short file that claims much takes little memory."""


def read_idx(path: Pathlike) -> np.ndarray:
    """Read the array of an IDX file, plain or compressed, in the machine's byte order.

    Whether it is compressed its first bytes say, whatever its name ends in.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing or not a whole IDX file.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(2) == GZIP
            file.seek(0)
            if not packed:
                return _read(file, name, size)
            with gzip.open(file) as content:
                return _read(content, name, max(SMALL, UNPACKED * size))
    except FileNotFoundError:
        raise DataError(f"read_idx: there is no file {name!r}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as cause:
        raise DataError(
            message(
                f"read_idx: {name!r} is damaged: {cause}",
                hint="copy or download it again.",
            )
        ) from None
    except MemoryError:
        raise DataError(f"read_idx: {name!r} holds more than the memory does") from None
    except OSError as cause:
        raise DataError(f"read_idx: cannot read {name!r}: {cause}") from None


def _read(file: Bytes, name: str, most: int) -> np.ndarray:
    """Read a file that can hold at most so many bytes."""
    magic = _bytes(file, 4, name, "the header")
    if magic[:2] != b"\0\0":
        raise DataError(
            message(
                f"read_idx: {name!r} is not an IDX file",
                f"it begins with {magic[:2].hex(' ')}, not with 00 00",
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
    if size > most:
        raise DataError(
            message(
                f"read_idx: {name!r} ends within the numbers",
                f"it claims to hold {size:,} bytes, and so few as it has cannot be as many",
                hint="the file is truncated, or made to fill the memory; download it again.",
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
    native = dtype.newbyteorder("=")
    return array if dtype == native else array.byteswap(inplace=True).view(native)


def _bytes(file: Bytes, count: int, name: str, what: str) -> bytearray:
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
