"""Storages and the tensors that look at them: arrays from a file's bytes.

PyTorch keeps a tensor as a *storage*, a plain row of elements, and a view of it,

    element (i, j, ...) = storage[offset + i * stride[0] + j * stride[1] + ...]

so that tensors may share memory. In a file the views come first and the storages
later; hence both are written down here, checked, and made into arrays at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minidl.files.torch_files.mending import saved_again
from minidl.files.torch_files.refusal import refuse

MAX_AXES = 32
"""Most axes of a tensor."""

MAX_EMPTY = 2**40
"""Largest product of the sizes, zeros left out, of a tensor without elements."""


class ElementType(NamedTuple):
    """The type of a storage's elements."""

    name: str
    """PyTorch's name of a storage of such elements."""
    dtype: np.dtype
    """The type that NumPy reads from the file, little-endian."""


_BFLOAT16 = "BFloat16Storage"

ELEMENTS = {
    name: ElementType(name, np.dtype(code))
    for name, code in {
        "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", _BFLOAT16: "<u2",
        "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1",
        "ByteStorage": "u1", "BoolStorage": "u1",
    }.items()
}
"""All types of elements, by PyTorch's names."""


@dataclass
class Storage:
    """A row of elements in the file, which is read when its place is known."""

    key: str
    element: ElementType
    count: int
    array: np.ndarray | None = None
    """The elements, when they have been read."""

    @property
    def size(self) -> int:
        """The size in the file, in bytes."""
        return self.count * self.element.dtype.itemsize

    def keep(self, raw: np.ndarray) -> None:
        """Keep the elements, given as they lie in the file."""
        if self.element.name == _BFLOAT16:  # the upper half of a float32
            wide = raw.astype(np.uint32)
            wide <<= 16
            self.array = wide.view(np.float32)
        elif self.element.name == "BoolStorage":
            self.array = raw != 0
        else:
            self.array = raw.astype(raw.dtype.newbyteorder("="), copy=False)


@dataclass(frozen=True)
class View:
    """A tensor, before its storage has been read: shape and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.strides) or len(self.shape) > MAX_AXES:
            refuse(f"a tensor has {len(self.shape)} sizes and {len(self.strides)} strides")
        numbers = (self.offset, *self.shape, *self.strides)
        if (
            any(type(n) is not int or not 0 <= n < 2**63 for n in numbers)
            or self.offset > self.storage.count
        ):
            refuse("a tensor's sizes, strides or offset are not numbers that it can have")
        if 0 in self.shape:
            if math.prod(n for n in self.shape if n) > MAX_EMPTY:
                refuse("a tensor without elements has sizes past any use")
            return
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if last < self.storage.count < math.prod(self.shape):
            refuse(
                f"a tensor of shape {self.shape} repeats the {self.storage.count} elements of its "
                "storage, as torch.expand makes it",
                hint=saved_again("v.clone(memory_format=torch.contiguous_format)"),
            )
        if last >= self.storage.count or math.prod(self.shape) > self.storage.count:
            refuse(
                f"a tensor of shape {self.shape} needs more elements than its storage "
                f"{self.storage.key!a} has, {self.storage.count}"
            )

    def array(self) -> np.ndarray:
        """Make the array, which shares memory with others of the same storage, as in PyTorch."""
        row = self.storage.array
        assert row is not None, "storages are filled before arrays are asked for"
        if 0 in self.shape:
            return np.zeros(self.shape, row.dtype)
        width = row.dtype.itemsize
        # Where there is one element, its stride is never taken, and may be any number.
        strides = tuple(
            width * (s if n > 1 else 1) for n, s in zip(self.shape, self.strides, strict=True)
        )
        return np.ndarray(self.shape, row.dtype, row.data, self.offset * width, strides)


@dataclass
class Storages:
    """The storages that a file has named so far, by key."""

    by_key: dict[str, Storage] = field(default_factory=dict)

    def named(self, identity: Any) -> Storage:
        """Find the storage of a persistent id, ("storage", type, key, device, count)."""
        match identity:
            case ("storage", ElementType() as element, str() as key, str(), int() as count):
                pass
            case ("storage", ElementType() as element, str() as key, str(), int() as count, None):
                pass  # the legacy container's; its last item would be a view of another storage
            case _:
                refuse("it refers to something outside the pickle that is not a storage")
        if count < 0:
            refuse(f"storage {key!a} has {count} elements")
        storage = self.by_key.setdefault(key, Storage(key, element, count))
        if (storage.element, storage.count) != (element, count):
            refuse(f"storage {key!a} is described in two ways")
        return storage

    def check(self, most: int) -> None:
        """Refuse storages that are larger together than ``most`` bytes, the file's size."""
        total = sum(storage.size for storage in self.by_key.values())
        if total > most:
            refuse(f"its storages would have {total} bytes, more than the file")
