"""Launches kernels by name, with arguments by name.

    launch("gram_y_v1_naive", grid=9, block=256, a=a, b=b, y=y, N=2, I=3, J=5, P=49)

A launch on CuPy arrays is run by ``minidl.cuda.gpu``, one on NumPy arrays by
``minidl.cuda.emulator``, unless ``executing`` says otherwise.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np

from minidl.compute.arrays import Array
from minidl.cuda import emulator, gpu, native
from minidl.cuda.arguments import LARGEST, PACK, is_record, packed_record
from minidl.cuda.prepare import Launch, ceil_div, largest_block, prepare
from minidl.cuda.source import Kernel, Source, constants, shipped

_address = ctypes.addressof
_memory: Callable[[Any], Any] = ctypes.c_char.from_buffer

REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
"""What ``real`` means in a launch, by the dtype of its arrays."""

EXECUTOR: ContextVar[Callable[[Launch], None] | None] = ContextVar("executor", default=None)
"""What runs launches on NumPy arrays, if not the emulator."""


@contextmanager
def executing(run: Callable[[Launch], None]) -> Iterator[None]:
    """Send launches on NumPy arrays to ``run``, for the length of a ``with`` block."""
    token = EXECUTOR.set(run)
    try:
        yield
    finally:
        EXECUTOR.reset(token)


def runs_natively(array: Array) -> bool:
    """Tell whether a launch on this array would run as the CPU's own code."""
    return isinstance(array, np.ndarray) and EXECUTOR.get() is native.run


def lanes_of(source: Source, array: Array) -> int:
    """The numbers of a pack (kernels/include/packs.cuh) in a launch on this array."""
    return numbers_of(source, array)["LANES"]


def numbers_of(source: Source, array: Array) -> Mapping[str, int]:
    """The constants of a file, as they are in a launch on this array: by dtype and machine."""
    return _numbers(source, array.dtype, runs_natively(array))


@cache
def _numbers(source: Source, dtype: np.dtype, natively: bool) -> Mapping[str, int]:
    vector = native.vector(source, REALS[dtype]) if natively else PACK
    return constants(source, dtype, vector)


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
        ``Windows``, a named tuple or a mapping of its fields. Arrays that are not const are written
        in place.

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
    if EXECUTOR.get() is native.run and _natively(kernel, grid, block, arguments):
        return
    ready = prepare(kernel, grid, block, shared, arguments)
    array = next(iter(ready.named_arrays().values()), None)
    if array is None or isinstance(array, np.ndarray):
        (EXECUTOR.get() or emulator.run)(ready)
    else:
        gpu.run(ready)


def _natively(kernel: str | Kernel, grid: Any, block: Any, arguments: dict[str, Any]) -> bool:
    """Run one of minidl's own kernels, if all is as declared; else tell that it is not.

    What is not is left to ``prepare``, which converts it, or says what is wrong.
    """
    found = shipped().get(kernel) if isinstance(kernel, str) else None
    if found is None or type(grid) is not int or type(block) is not int:
        return False
    real = "float"
    for value in arguments.values():
        if type(value) is np.ndarray and value.dtype in REALS:
            real = REALS[value.dtype]
            break
    form = native.form_of(found, real)
    values: list[Any] = []
    if not form.plain or len(form.parameters) != len(arguments):
        return False
    for name, dtype, more in form.parameters:
        value = arguments.get(name)
        if dtype is not None:
            if type(value) is not np.ndarray or value.dtype != dtype:
                return False
            flags = value.flags
            if not flags.c_contiguous or not (more or flags.writeable) or value.size > LARGEST:
                return False
            try:
                values.append(_address(_memory(value)))  # four times as quick as the other way
            except (TypeError, ValueError):  # it is read-only, or empty
                values.append(value.__array_interface__["data"][0])
            continue
        if type(value) is not int and type(value) is not float:
            if not is_record(value):
                return False
            value = packed_record(found, more, value, real)
        values.append(value)
    form.call((grid, 1, 1), (block, 1, 1), values)
    return True


def launch_each(kernel: str | Kernel, count: int, /, **arguments: Any) -> None:
    """Run a kernel once, with a thread for each of ``count`` results, as ``launch`` does."""
    block = largest_block(kernel)
    launch(kernel, ceil_div(count, block), block, **arguments)
