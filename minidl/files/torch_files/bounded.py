"""A file from which nothing is read that does not lie inside it."""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np

from minidl.files.torch_files.refusal import refuse


class BoundedFile:
    """An open file that refuses to be read where it has no bytes.

    Parameters
    ----------
    stream : binary file, seekable
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.size = stream.seek(0, os.SEEK_END)

    def read(self, start: int, size: int) -> bytes:
        """Read ``size`` bytes from ``start`` on."""
        self.check(start, size)
        self._stream.seek(start)
        data = self._stream.read(size)
        if len(data) != size:
            refuse("the file became shorter while it was read")
        return data

    def read_up_to(self, start: int, most: int) -> bytes:
        """Read the bytes that there are from ``start`` on, at most ``most``."""
        return self.read(start, max(0, min(most, self.size - start)))

    def fill(self, start: int, count: int, dtype: np.dtype) -> np.ndarray:
        """Read a new array of ``count`` elements from ``start`` on."""
        self.check(start, count * dtype.itemsize)  # before the memory is asked for
        array = np.empty(count, dtype)
        self._stream.seek(start)
        # A zero-size array has no bytes that a memoryview could be cast to.
        if count and self._stream.readinto(array.view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
            refuse("the file became shorter while it was read")
        return array

    def check(self, start: int, size: int) -> None:
        """Refuse ``size`` bytes from ``start`` on that do not lie inside the file."""
        if start < 0 or size < 0 or start + size > self.size:
            refuse(f"truncated: it names {size} bytes at {start}, and has {self.size} in all")
