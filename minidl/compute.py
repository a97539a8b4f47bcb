"""Where arrays live, and which code fills them.

An array lives on the CPU (NumPy) or on a GPU (CuPy). What is hand-written here
(convolution, pooling, resampling, sampling, normalising, Gram matrices) exists more than once:

    reference   readable NumPy, the oracle; also runs on CuPy arrays
    fast        blocked BLAS on a thread pool; NumPy arrays only
    kernels     CUDA: CuPy arrays on the GPU, NumPy arrays on the emulator

``run`` decides between them, and nothing else does: nothing above this file
knows devices, and nothing below it knows Tensors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, DeviceError, message

Array = Any
"""A NumPy or a CuPy array: what the functions below take and return."""

CODES = ("default", "reference", "emulated")

_code: ContextVar[str] = ContextVar("minidl_code", default="default")


@contextmanager
def use_kernels(code: str) -> Iterator[None]:
    """Choose the code that fills arrays, for the length of a ``with`` block.

    Parameters
    ----------
    code : {"default", "reference", "emulated"}
        ``"default"``: the fastest code for where the array lives: ``minidl.fast`` on the CPU,
        the CUDA kernels on a GPU. ``"reference"``: the readable NumPy, on either.
        ``"emulated"``: the CUDA kernels, on the CPU too. Slow; to check and to study them.

    Raises
    ------
    ArgumentError
        If there is no such code.
    """
    if code not in CODES:
        raise ArgumentError(
            message(f"use_kernels: no code is called {code!r}", hint=f"choose one of {CODES}.")
        )
    token = _code.set(code)
    try:
        yield
    finally:
        _code.reset(token)


def run(name: str, *arrays: Array, **settings: Any) -> Array:
    """Fill an array by the function of this name, from the code now in use."""
    return _find(name, arrays)(*arrays, **settings)


def _find(name: str, arrays: tuple[Array, ...]) -> Callable[..., Array]:
    # Imported here because all of them are built on this file.
    code, quick = _code.get(), None
    if code == "default" and isinstance(arrays[0], np.ndarray):
        from minidl import fast

        quick = getattr(fast, name, None)
    elif code != "reference" and _is_for_kernels(arrays):
        import minidl.kernels as kernels

        quick = getattr(kernels, name, None)
    if quick is not None:
        return quick
    from minidl import reference

    return getattr(reference, name)


def _is_for_kernels(arrays: tuple[Array, ...]) -> bool:
    """Kernels are compiled for float32 and for float64, and do not mix the two."""
    dtype = arrays[0].dtype
    return dtype in (np.float32, np.float64) and all(
        array.dtype == dtype or array.dtype.kind in "iu" for array in arrays
    )


def xp_of(array: Array) -> Any:
    """The module (numpy or cupy) that an array belongs to."""
    return np if isinstance(array, (np.ndarray, np.generic)) else _cupy()


def device_of(array: Array) -> str:
    """``"cpu"`` or ``"cuda"``."""
    return "cpu" if isinstance(array, (np.ndarray, np.generic)) else "cuda"


def is_array(value: object) -> bool:
    """Whether a value is a NumPy or a CuPy array (CuPy is not imported to find out)."""
    if isinstance(value, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def to_device(array: Array, device: str | None) -> Array:
    """The same values on another device; the array itself if it is there already.

    Raises
    ------
    DeviceError
        If the device is unknown or this machine cannot use it.
    """
    if device is None or device == device_of(array):
        return array
    if device == "cpu":
        return _cupy().asnumpy(array)
    if device == "cuda":
        return _cupy().asarray(array)
    raise DeviceError(
        message(f"there is no device {device!r}", hint='the devices are "cpu" and "cuda".')
    )


def _cupy() -> Any:
    """CuPy, imported at the first use of a GPU and not before."""
    try:
        import cupy

        usable = bool(cupy.cuda.is_available())
    except Exception as cause:  # a broken CUDA installation raises errors of many kinds
        raise DeviceError(
            message(
                "cuda: CuPy could not be imported",
                f"{type(cause).__name__}: {cause}",
                hint='install "minidl[cuda13]" (driver 580 or later) or "minidl[cuda12]"; '
                "`minidl doctor` says which fits this machine.",
            )
        ) from cause
    if not usable:
        raise DeviceError(
            message(
                "cuda: CuPy is installed but finds no GPU that it can use",
                hint="`minidl doctor` says what is missing; the CPU needs no GPU at all.",
            )
        )
    return cupy
