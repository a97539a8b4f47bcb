"""Launches kernels by name, with arguments by name.

    launch("gram_y_v1_naive", grid=9, block=256, a=a, b=b, y=y, N=2, I=3, J=5, P=49)

``minidl.cuda_text`` reads the kernel's declaration from the .cu file, ``minidl.arguments`` checks
and converts what is given by it. What comes out is a ``Launch``, which knows nothing of how it
will run: ``minidl.gpu`` runs those on CuPy arrays, ``minidl.emulator`` those on NumPy arrays,
unless ``executing`` says otherwise.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.arguments import FROM_NHWC, LARGEST, TO_NHWC, convert, refused
from minidl.compute import Array
from minidl.cuda_text import Kernel, Parameter, Source, folder, kernels_of, shipped
from minidl.errors import ArgumentError, message

__all__ = [
    "Kernel", "Launch", "Parameter", "Source",
    "empty_nhwc", "executing", "folder", "is_nhwc", "kernels_of", "launch", "prepare",
]  # fmt: skip

GRID = (LARGEST, 65535, 65535)
BLOCK = (1024, 1024, 64)
"""The limits of CUDA along x, y and z."""

THREADS = 1024
"""Of a block, at most."""

SHARED = 227 * 1024
"""Bytes of shared memory of a block, at most (GPUs since sm_90)."""


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


_executor: ContextVar[Callable[[Launch], None] | None] = ContextVar("executor", default=None)


@contextmanager
def executing(run: Callable[[Launch], None]) -> Iterator[None]:
    """Send launches on NumPy arrays to ``run``, for the length of a ``with`` block."""
    token = _executor.set(run)
    try:
        yield
    finally:
        _executor.reset(token)


def launch(kernel: str | Kernel, grid: Any, block: Any, shared: int = 0, **arguments: Any) -> None:
    """Run a kernel once.

    Parameters
    ----------
    kernel : str or Kernel
        The name of a kernel in kernels/*.cu, or one of ``kernels_of`` a source of your own.
    grid, block : int or tuple of up to three int
        Blocks, and threads per block, along x, y and z.
    shared : int
        Bytes of dynamic shared memory.
    **arguments
        One for each parameter of the kernel, by its name: arrays, numbers, and for a struct a
        ``Windows`` or a mapping of its fields. Arrays that are not const are written in place.

    Raises
    ------
    ArgumentError
        If a name, a size, a layout or a number does not fit the declaration.
    DtypeError
        If an argument has another type than is declared.
    DeviceError
        If the arrays lie on different devices.
    KernelError
        If the kernel does not compile, or was found wrong while it ran.
    """
    ready = prepare(kernel, grid, block, shared, arguments)
    array = next(iter(ready.named_arrays().values()), None)
    if array is None or isinstance(array, np.ndarray):
        run = _executor.get() or _emulator()
    else:
        run = _gpu()
    run(ready)


def _emulator() -> Callable[[Launch], None]:
    from minidl import emulator  # it, and the next, are built on this file

    return emulator.run


def _gpu() -> Callable[[Launch], None]:
    from minidl import gpu

    return gpu.run


def prepare(
    kernel: str | Kernel, grid: Any, block: Any, shared: int, arguments: Mapping[str, Any]
) -> Launch:
    """Check and convert what ``launch`` is given, and run nothing."""
    if isinstance(kernel, str):
        kernel = _named(kernel)
    grid = _extent(kernel, "grid", grid, GRID)
    block = _extent(kernel, "block", block, BLOCK)
    threads, most = math.prod(block), min(kernel.threads or THREADS, THREADS)
    if threads > most:
        raise refused(
            kernel, f"a block of {threads} threads is too large", f"block is {block}",
            hint=f"at most {most}" + (", by its __launch_bounds__." if kernel.threads else "."),
        )  # fmt: skip
    if not isinstance(shared, (int, np.integer)) or not 0 <= shared <= SHARED:
        raise refused(kernel, f"shared is {shared!r} bytes", hint=f"an integer, 0 to {SHARED}.")
    real, values = convert(kernel, arguments)
    return Launch(kernel, real, grid, block, int(shared), values)


def empty_nhwc(xp: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array (N, C, H, W) not filled in, channels last in memory."""
    n, c, h, w = shape
    return xp.empty((n, h, w, c), dtype).transpose(FROM_NHWC)


def is_nhwc(x: Array) -> bool:
    """Whether an array (N, C, H, W) lies channels last in memory, and not also as it is written."""
    return x.transpose(TO_NHWC).flags.c_contiguous and not x.flags.c_contiguous


# --- the launch itself ---


def _named(name: str) -> Kernel:
    kernel = shipped().get(name)
    if kernel is None:
        near = difflib.get_close_matches(name, shipped(), 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "yours are kernels_of(path)[name]."
        raise ArgumentError(message(f"launch: no kernel is called {name!r}", hint=hint))
    return kernel


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
