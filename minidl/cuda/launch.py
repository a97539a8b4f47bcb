"""Launches kernels by name, with arguments by name.

    launch("gram_y_v1_naive", grid=9, block=256, a=a, b=b, y=y, N=2, I=3, J=5, P=49)

A launch on CuPy arrays is run by ``minidl.cuda.gpu``, one on NumPy arrays by
``minidl.cuda.emulator``, unless ``executing`` says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minidl.cuda import emulator, gpu
from minidl.cuda.prepare import Launch, ceil_div, largest_block, prepare
from minidl.cuda.source import Kernel

_executor: ContextVar[Callable[[Launch], None] | None] = ContextVar("executor", default=None)


@contextmanager
def executing(run: Callable[[Launch], None]) -> Iterator[None]:
    """Send launches on NumPy arrays to ``run``, for the length of a ``with`` block."""
    token = _executor.set(run)
    try:
        yield
    finally:
        _executor.reset(token)


def launch(
    kernel: str | Kernel, grid: Any, block: Any = None, shared: int = 0, **arguments: Any
) -> None:
    """Run a kernel once.

    Parameters
    ----------
    kernel : str or Kernel
        The name of a kernel in kernels/*.cu, or one of ``kernels_of`` a source of your own.
    grid, block : int or tuple of up to three int
        Blocks, and threads per block, along x, y and z. Without ``block``, the largest that the
        kernel allows, by ``__launch_bounds__``.
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
        (_executor.get() or emulator.run)(ready)
    else:
        gpu.run(ready)


def launch_each(kernel: str | Kernel, count: int, /, **arguments: Any) -> None:
    """Run a kernel once, with a thread for each of ``count`` results, as ``launch`` does."""
    launch(kernel, ceil_div(count, largest_block(kernel)), **arguments)
