"""Passes over memory: work that costs little more than reading and writing its arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute import buffers
from minidl.compute.arrays import Array, xp_of
from minidl.compute.dispatch import Code, run

LARGE = 1 << 16
"""The numbers of an array from which a kernel, once it has been called, is the quicker one."""

_KERNELS = frozenset(map(np.dtype, (np.float32, np.float64)))


def pass_over(function: Code, *arrays: Array, **settings: Any) -> Any:
    """Compute as ``run`` does, but by the reference what no kernel is for.

    That are small arrays on a CPU, integers, and float16.
    """
    first = arrays[0]
    small = first.size < LARGE and isinstance(first, np.ndarray)
    if small or first.dtype not in _KERNELS:
        return function(*arrays, **settings)
    return run(function, *arrays, **settings)


def combine(name: str, x: Array, y: Array) -> Array:
    """Apply a NumPy function to two arrays, where they are alike into memory that is used again."""
    xp = xp_of(x)
    if xp is np and x.dtype == y.dtype and x.shape == y.shape and x.strides == y.strides:
        return getattr(np, name)(x, y, out=buffers.like(x))
    return getattr(xp, name)(x, y)
