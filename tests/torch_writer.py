"""Writes PyTorch's two containers, without PyTorch: for the tests of the reader.

Written from the formats, not with Python's pickler, so that any opcode can be put
anywhere, and so that the reader is not tested against its own ideas.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {
    "protocol_version": 1001,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
NAMES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage",
    "int8": "CharStorage", "uint8": "ByteStorage", "bool": "BoolStorage",
}


class Saved(NamedTuple):
    """A tensor as torch.save sees it: a storage, and a view of it (in elements)."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    kind: str = ""
    """The storage's type, if its dtype does not say it."""
    parameter: bool = False
    claimed: int | None = None
    """Elements that the pickle says the storage has, if not the truth."""


def saved(array: np.ndarray, **changes: Any) -> Saved:
    """An array in C order as a tensor with a storage of its own."""
    strides = tuple(s // array.itemsize for s in np.empty(array.shape, array.dtype).strides)
    return Saved(array.reshape(-1), 0, array.shape, strides)._replace(**changes)


class Raw(NamedTuple):
    """Opcodes, put into the pickle as they are."""

    opcodes: bytes


class Pickle:
    """Pickles of protocol 2, that share the numbering of storages.

    Parameters
    ----------
    legacy : bool
        Whether persistent ids have a sixth item.
    """

    def __init__(self, legacy: bool = False):
        self.legacy = legacy
        self.storages: list[np.ndarray] = []

    def dump(self, value: Any) -> bytes:
        """The pickle of a value."""
        return b"\x80\x02" + self._code(value) + b"."

    def _code(self, value: Any) -> bytes:
        match value:
            case Raw():
                return value.opcodes
            case Saved():
                return self._tensor(value)
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int() if -(2**31) <= value < 2**31:
                return b"J" + struct.pack("<i", value)
            case int():
                size = value.bit_length() // 8 + 1
                return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                text = value.encode()
                return b"X" + struct.pack("<I", len(text)) + text
            case tuple():
                return b"(" + b"".join(map(self._code, value)) + b"t"
            case list():
                return b"](" + b"".join(map(self._code, value)) + b"e"
            case dict():
                empty = b"ccollections\nOrderedDict\n)R" if type(value) is OrderedDict else b"}"
                return empty + b"(" + b"".join(
                    self._code(part) for item in value.items() for part in item
                ) + b"u"
        raise TypeError(type(value))

    def _tensor(self, tensor: Saved) -> bytes:
        hooks = OrderedDict[str, Any]()
        identity = self._identity(tensor)
        rest = (tensor.offset, tensor.shape, tensor.strides, False, hooks)
        code = b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity
        code += b"".join(map(self._code, rest)) + b"tR"
        if tensor.parameter:
            code = b"ctorch._utils\n_rebuild_parameter\n(" + code + b"\x88" + self._code(hooks)
            code += b"tR"
        return code

    def _identity(self, tensor: Saved) -> bytes:
        keys = [i for i, known in enumerate(self.storages) if known is tensor.storage]
        if not keys:
            keys = [len(self.storages)]
            self.storages.append(tensor.storage)
        kind = tensor.kind or NAMES[tensor.storage.dtype.name]
        count = tensor.storage.size if tensor.claimed is None else tensor.claimed
        code = b"(" + self._code("storage") + f"ctorch\n{kind}\n".encode()
        code += b"".join(map(self._code, (str(keys[0]), "cpu", count)))
        return code + (b"N" if self.legacy else b"") + b"tQ"


def zip_file(value: Any, byteorder: bytes = b"little", **options: Any) -> bytes:
    """The bytes of a file of the zip container; ``options`` go to ZipFile."""
    pickle, out = Pickle(), io.BytesIO()
    with zipfile.ZipFile(out, "w", **options) as archive:
        archive.writestr("net/data.pkl", pickle.dump(value))
        archive.writestr("net/byteorder", byteorder)
        for key, storage in enumerate(pickle.storages):
            archive.writestr(f"net/data/{key}", storage.tobytes())
        archive.writestr("net/version", b"3\n")
    return out.getvalue()


def legacy_file(value: Any, system: Any = SYSTEM) -> bytes:
    """The bytes of a file of the legacy container."""
    pickle = Pickle(legacy=True)
    head = [pickle.dump(part) for part in (MAGIC, 1001, system, value)]
    head.append(pickle.dump([str(key) for key in range(len(pickle.storages))]))
    body = [struct.pack("<q", s.size) + s.tobytes() for s in pickle.storages]
    return b"".join(head + body)


CONTAINERS = {"zip": zip_file, "legacy": legacy_file}
