"""The two containers in which PyTorch puts a pickle and the storages that it names.

    zip, since 1.6     NAME/data.pkl         the pickle
                       NAME/data/KEY         a storage each
                       NAME/byteorder        "little" or "big"; may be absent

    legacy, before     pickle of a magic number
                       pickle of the version, 1001
                       pickle of {"little_endian": ..., ...}
                       pickle of the object
                       pickle of the list of keys
                       for each key: number of elements (int64), then the elements

Source: PyTorch 2.13, torch/serialization.py, ``_save`` and ``_legacy_save``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.files.torch_files.bounded import BoundedFile
from minidl.files.torch_files.machine import Machine
from minidl.files.torch_files.mending import SCRIPTED
from minidl.files.torch_files.plain import plain
from minidl.files.torch_files.refusal import refuse
from minidl.files.torch_files.tensors import Storages
from minidl.files.torch_files.zip_directory import Member, members

MAX_PICKLE = 16 * 2**20
"""Largest size of a pickle, in bytes. A network's has about 200 for each tensor."""

MAGIC = 0x1950A86A20F9469CFC6C
"""The number with which the legacy container begins."""

VERSION = 1001
"""The only version of the legacy container."""

_COUNT = np.dtype("<i8")
"""The type of a storage's number of elements, in the legacy container."""


def read_zip(file: BoundedFile) -> Any:
    """Read what a file of the zip container holds."""
    found = members(file)
    pickles = [n for n in found if n.endswith("/data.pkl") and n.count("/") == 1]
    if len(pickles) != 1:
        refuse("a zip archive, but not of PyTorch: it does not have one NAME/data.pkl")
    root = pickles[0].removesuffix("data.pkl")
    if _whole(file, found.get(f"{root}byteorder"), 16) == b"big":
        refuse("it was written on a big-endian machine")
    if f"{root}constants.pkl" in found:
        refuse("it is a program of TorchScript, which torch.jit.save wrote", hint=SCRIPTED)
    storages = Storages()
    value, _ = Machine(_whole(file, found[pickles[0]], MAX_PICKLE), storages).run()
    storages.check(file.size)
    for key, storage in storages.by_key.items():
        member = found.get(f"{root}data/{key}")
        if member is None or member.size != storage.size:
            refuse(f"storage {key!a} of {storage.size} bytes is not in the archive")
        raw = file.fill(member.start, storage.count, storage.element.dtype)
        member.check(raw)
        storage.keep(raw)
    return plain(value)


def _whole(file: BoundedFile, member: Member | None, most: int) -> bytes:
    """Read the bytes of a small member; none if there is no such member."""
    if member is None:
        return b""
    if member.size > most:
        refuse(f"one of its members has {member.size} bytes, where {most} are plenty")
    data = file.read(member.start, member.size)
    member.check(data)
    return data


def read_legacy(file: BoundedFile) -> Any:
    """Read what a file of the legacy container holds."""
    storages, start, parts = Storages(), 0, []
    for expected in (MAGIC, VERSION, None, None, None):
        part, size = Machine(file.read_up_to(start, MAX_PICKLE), storages).run()
        if expected is not None and (type(part) is not int or part != expected):
            refuse("a pickle, but not one of PyTorch's weight files")
        parts.append(part)
        start += size
    _, _, system, value, keys = parts
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        refuse("it was written on a big-endian machine")
    _fill_in_order(file, start, keys, storages)
    return plain(value)


def _fill_in_order(file: BoundedFile, start: int, keys: Any, storages: Storages) -> None:
    strings = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not strings or len(keys) != len(set(keys)) or set(keys) != set(storages.by_key):
        refuse("its list of storages is not that of the tensors")
    storages.check(file.size)
    for key in keys:
        storage = storages.by_key[key]
        (count,) = file.fill(start, 1, _COUNT)
        if count != storage.count:
            refuse(f"storage {key!a} has {count} elements, its tensors expect {storage.count}")
        start += _COUNT.itemsize
        storage.keep(file.fill(start, storage.count, storage.element.dtype))
        start += storage.size
