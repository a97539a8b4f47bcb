"""Which code fills an array.

What is hand-written here (convolution, pooling, resampling, sampling, normalising, Gram matrices)
exists more than once, under one name:

    reference   readable NumPy, the oracle; also runs on CuPy arrays
    fast        blocked BLAS on a thread pool; NumPy arrays only
    kernels     CUDA: CuPy arrays on the GPU, NumPy arrays on the emulator

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

from minidl.compute import fast, reference
from minidl.compute.arrays import Array
from minidl.errors import ArgumentError, message

Code = Callable[..., Any]
"""A function of arrays and settings that returns an array or several."""

CODES = ("default", "reference", "emulated")
"""The names that ``use_kernels`` takes."""

FAST: dict[Code, Code] = {getattr(reference, name): getattr(fast, name) for name in fast.__all__}
"""The fast function for each one of ``minidl.compute.reference`` that has one."""

_code: ContextVar[str] = ContextVar("minidl_code", default="default")


@contextmanager
def use_kernels(code: str) -> Iterator[None]:
    """Choose the code that fills arrays, for the length of a ``with`` block.

    Parameters
    ----------
    code : {"default", "reference", "emulated"}
        ``"default"``: the fastest code for where the array lives: ``minidl.compute.fast`` on the
        CPU, the CUDA kernels on a GPU. ``"reference"``: the readable NumPy, on either.
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


def run(function: Code, *arrays: Array, **settings: Any) -> Any:
    """Compute what ``function`` of ``minidl.compute.reference`` does, by the code now in use."""
    code = _code.get()
    if code == "default" and isinstance(arrays[0], np.ndarray):
        function = FAST.get(function, function)
    elif code != "reference" and _is_for_kernels(arrays):
        function = launchers().get(function, function)
    return function(*arrays, **settings)


@cache
def launchers() -> dict[Code, Code]:
    """Map functions of ``minidl.compute.reference`` to the kernels' launchers.

    They are imported when the first of them is needed.
    """
    from minidl import kernels

    return {getattr(reference, name): getattr(kernels, name) for name in kernels.__all__}


def _is_for_kernels(arrays: tuple[Array, ...]) -> bool:
    """Tell whether kernels take these: they are float32 or float64, and do not mix the two."""
    dtype = arrays[0].dtype
    return dtype in (np.float32, np.float64) and all(
        array.dtype == dtype or array.dtype.kind in "iu" for array in arrays
    )
