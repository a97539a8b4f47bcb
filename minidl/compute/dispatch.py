"""Which code fills an array.

What is hand-written here (convolution, pooling, resampling, sampling, normalising, Gram matrices)
exists more than once, under one name:

    reference   readable NumPy, the oracle; also runs on CuPy arrays
    fast        blocked BLAS on a thread pool; NumPy arrays only
    kernels     CUDA: CuPy arrays on the GPU; NumPy arrays natively where threads never meet, or
                on the emulator

A caller names what it wants by the readable one, and ``run`` takes the quickest that is in use:

    y = run(reference.conv2d_y, x, w, windows=windows)

Nothing above this file knows devices, and nothing below it knows Tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import numpy as np

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.errors import ArgumentError, DtypeError, message

Code = Callable[..., Any]
"""A function of arrays and settings that returns an array or several."""

CODES = ("default", "reference", "numpy", "native", "emulated")
"""The names that ``use_kernels`` takes."""

_ON_CPU = ("default", "numpy", "native")

_code: ContextVar[str] = ContextVar("minidl_code", default="default")


@contextmanager
def use_kernels(code: str) -> Iterator[None]:
    """Choose the code that fills arrays, for the length of a ``with`` block.

    Parameters
    ----------
    code : {"default", "reference", "numpy", "native", "emulated"}
        ``"default"``: the fastest code for where the array lives: the CUDA kernels on a GPU; on
        the CPU ``"native"`` where there is a compiler, else ``"numpy"``. ``"reference"``: the
        readable NumPy, on either. ``"numpy"``: ``minidl.compute.fast`` on the CPU. ``"native"``:
        the CUDA kernels, compiled for this CPU, and NumPy for what these do not cover.
        ``"emulated"``: the CUDA kernels on an imitated GPU. Slow; to check and to study them.

    Raises
    ------
    ArgumentError
        If there is no such code.
    DeviceError
        If native code is asked for, and there is no compiler.
    """
    if code not in CODES:
        raise ArgumentError(
            message(f"use_kernels: no code is called {code!r}", hint=f"choose one of {CODES}.")
        )
    if code == "native":
        _natively().require()
    token = _code.set(code)
    try:
        yield
    finally:
        _code.reset(token)


def run(function: Code, *arrays: Array, **settings: Any) -> Any:
    """Compute what ``function`` of ``minidl.compute.reference`` does, by the code now in use."""
    if arrays[0].dtype == np.float16:
        return _in_single(function, arrays, settings)
    code = _code.get()
    if code in _ON_CPU and isinstance(arrays[0], np.ndarray):
        found = None if code == "numpy" else _natively().compute(function, arrays, settings)
        if found is not None:
            return found
        function = fast_functions().get(function, function)
    elif code != "reference":
        function = _launcher(function, arrays)
    return function(*arrays, **settings)


def _in_single(function: Code, arrays: tuple[Array, ...], settings: dict[str, Any]) -> Any:
    """Compute what is kept in float16 in float32: its sums must not overflow or lose digits."""
    wide = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]
    found = run(function, *wide, **settings)
    several = found if isinstance(found, tuple) else (found,)
    half = tuple(a.astype(np.float16) if a.dtype.kind == "f" else a for a in several)
    return half if isinstance(found, tuple) else half[0]


def _launcher(function: Code, arrays: tuple[Array, ...]) -> Code:
    """The kernels' launcher of a function, or the function itself where there are no kernels."""
    launcher = launchers().get(function)
    if launcher is None:
        return function
    floats = [a.dtype for a in arrays if a.dtype.kind not in "iu"]
    if len(set(floats)) == 1 and floats[0] in (np.float32, np.float64):
        return launcher
    raise DtypeError(
        message(
            f"{function.__name__}: the kernels compute float32 or float64, one of them at a time",
            f"received {', '.join(str(a.dtype) for a in arrays)}",
            hint="convert first, x.astype(numpy.float32), or use_kernels('reference').",
        )
    )


@cache
def fast_functions() -> dict[Code, Code]:
    """Map functions of ``minidl.compute.reference`` to the fast ones, imported when needed."""
    from minidl.compute import fast

    return {getattr(reference, name): getattr(fast, name) for name in fast.__all__}


@cache
def _natively() -> Any:
    """The module that runs kernels as the CPU's own code, imported when it is needed."""
    from minidl.kernels import natively

    return natively


@cache
def launchers() -> dict[Code, Code]:
    """Map functions of ``minidl.compute.reference`` to the kernels' launchers.

    They are imported when the first of them is needed.
    """
    from minidl import kernels

    return {getattr(reference, name): getattr(kernels, name) for name in kernels.__all__}
