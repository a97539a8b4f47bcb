"""What a case is: a small call of an op, on which each rung of its ladder is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.compute.arrays import Array

Call = tuple[tuple[Array, ...], dict[str, Any]]
Random = np.random.Generator
Make = Callable[[Random, Any], Call]
Size = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One call of an op.

    Attributes
    ----------
    op : str
        A function of ``minidl.compute.reference`` and of ``minidl.kernels``.
    setting : str
        What the case is there for.
    make : callable
        Takes a random generator and a dtype, and returns the arrays and the settings (a dict)
        of the call, NumPy's.
    """

    op: str
    setting: str
    make: Make

    @property
    def name(self) -> str:
        return f"{self.op}: {self.setting}"

    def call(self, dtype: Any) -> Call:
        """Make the call, always with the same numbers in it."""
        return self.make(np.random.default_rng(0), np.dtype(dtype))


def channels_last(x: Array) -> Array:
    """A copy of an image that lies channels last in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
