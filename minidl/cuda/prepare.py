"""What a launch is, once it is checked: a plain record, which knows nothing of how it will run.

``minidl.cuda.source`` reads a kernel's declaration from the .cu file, ``minidl.cuda.arguments``
checks and converts what is given by it, and ``minidl.cuda.launch`` hands the record to an executor.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.compute import buffers
from minidl.compute.arrays import Array
from minidl.cuda.arguments import FROM_NHWC, LARGEST, convert, refused
from minidl.cuda.source import Kernel, shipped
from minidl.errors import ArgumentError, message

GRID, BLOCK = (LARGEST, 65535, 65535), (1024, 1024, 64)
"""CUDA's largest numbers of blocks in a grid, and of threads in a block, along x, y and z."""

THREADS = 1024
"""CUDA's largest number of threads in a block."""

WARP = 32
"""Threads of a warp, which go in step."""

SHARED = 227 * 1024
"""The most bytes of shared memory that a block may have (GPUs since sm_90)."""


@dataclass(frozen=True, eq=False)
class Launch:
    """One launch, checked and ready to run.

    Attributes
    ----------
    kernel : Kernel
    real : {"float", "double"}
        What ``real`` means in this launch.
    grid, block : tuple of three int
    shared : int
        Bytes of dynamic shared memory.
    values : tuple
        One for each parameter of the kernel: an array in the order of its memory (one declared
        NHWC has the axes (N, H, W, C) here) and contiguous, a NumPy number of the declared
        width, or the ``bytes`` of a struct.
    """

    kernel: Kernel
    real: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    values: tuple[Any, ...]

    def named_arrays(self) -> dict[str, Array]:
        """The arrays, by their parameters' names."""
        pairs = zip(self.kernel.parameters, self.values, strict=True)
        return {parameter.name: value for parameter, value in pairs if parameter.pointer}


def prepare(
    kernel: str | Kernel, grid: Any, block: Any, shared: int, arguments: Mapping[str, Any]
) -> Launch:
    """Check and convert what ``launch`` is given, and run nothing."""
    kernel, most = _named(kernel), largest_block(kernel)
    grid = _extent(kernel, "grid", grid, GRID)
    block = _extent(kernel, "block", most if block is None else block, BLOCK)
    threads = math.prod(block)
    if threads > most:
        raise refused(
            kernel, f"a block of {threads} threads is too large", f"block is {block}",
            hint=f"at most {most}" + (", by its __launch_bounds__." if kernel.threads else "."),
        )
    if not isinstance(shared, (int, np.integer)) or not 0 <= shared <= SHARED:
        raise refused(kernel, f"shared is {shared!r} bytes", hint=f"an integer, 0 to {SHARED}.")
    real, values = convert(kernel, arguments)
    return Launch(kernel, real, grid, block, int(shared), values)


def largest_block(kernel: str | Kernel) -> int:
    """The most threads that a block of a kernel may have."""
    return min(_named(kernel).threads or THREADS, THREADS)


def ceil_div(a: int, b: int) -> int:
    """The quotient of two integers, rounded up."""
    return -(-a // b)


def empty(xp: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """A new array, not filled in; on a CPU in memory that is used again, where it is large."""
    if xp is np:
        return buffers.result(shape, np.dtype(dtype))
    return xp.empty(shape, dtype)


def empty_nhwc(xp: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """A new array (N, C, H, W), not filled in, channels last in memory."""
    n, c, h, w = shape
    return empty(xp, (n, h, w, c), dtype).transpose(FROM_NHWC)


def _named(kernel: str | Kernel) -> Kernel:
    """Find the kernel of a name; a kernel stays as it is."""
    if isinstance(kernel, Kernel):
        return kernel
    if kernel in shipped():
        return shipped()[kernel]
    near = difflib.get_close_matches(kernel, shipped(), 3)
    hint = f"did you mean {' or '.join(near)}?" if near else "yours are kernels_of(path)[name]."
    raise ArgumentError(message(f"launch: no kernel is called {kernel!r}", hint=hint))


def _extent(kernel: Kernel, what: str, value: Any, limits: tuple[int, ...]) -> tuple[int, int, int]:
    """Three positive integers within CUDA's limits; what is left out is 1."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    fits = 1 <= len(sizes) <= 3 and all(
        isinstance(size, (int, np.integer)) and 1 <= size <= limit
        for size, limit in zip(sizes, limits, strict=False)
    )
    if not fits:
        raise refused(
            kernel, f"{what} is {value!r}", hint=f"up to three integers from 1 to {limits}."
        )
    x, y, z = (*map(int, sizes), 1, 1)[:3]
    return x, y, z
