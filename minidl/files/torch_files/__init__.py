"""PyTorch's weight files, read without PyTorch and without running the programs in them.

    containers.py      the file's parts: zip or legacy      <- start here
    machine.py         the pickle, a program, which is not run but read as data
    vocabulary.py      the names that it may use
    tensors.py         storages, and views of them
    plain.py           the result, as arrays and plain values
    zip_directory.py   where the members of a zip archive lie
    bounded.py, mending.py   nothing outside the file; what to type in PyTorch instead
"""

from __future__ import annotations

from typing import Any, BinaryIO

from minidl.files.torch_files.bounded import BoundedFile
from minidl.files.torch_files.containers import read_legacy, read_zip
from minidl.files.torch_files.refusal import Refusal

ZIP = b"PK\3\4"
"""The first bytes of a zip archive, PyTorch's container since 1.6."""

LEGACY = b"\x80"
"""The first byte of a pickle, with which the older container begins."""


def read(stream: BinaryIO) -> Any:
    """Read a weight file: nested dicts, lists and tuples of arrays and numbers.

    Parameters
    ----------
    stream : binary file, seekable

    Raises
    ------
    Refusal
        If it is damaged, or holds anything else. Arrays take at most three times the
        file's memory (bfloat16 becomes float32), the rest is bounded by machine.py.
    """
    file = BoundedFile(stream)
    return read_zip(file) if file.read_up_to(0, 4) == ZIP else read_legacy(file)
