"""Where arrays live: on the CPU (NumPy) or on a GPU (CuPy), and how they get there."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from minidl.errors import DeviceError, message

Array = Any
"""A NumPy or a CuPy array."""


def xp_of(array: Array) -> Any:
    """Return the module (numpy or cupy) that an array belongs to."""
    return np if isinstance(array, (np.ndarray, np.generic)) else _cupy()


def device_of(array: Array) -> str:
    """Say where an array lives: ``"cpu"`` or ``"cuda"``."""
    return "cpu" if isinstance(array, (np.ndarray, np.generic)) else "cuda"


def is_array(value: object) -> bool:
    """Tell whether a value is a NumPy or a CuPy array (CuPy is not imported to find out)."""
    if isinstance(value, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def to_device(array: Array, device: str | None) -> Array:
    """Return the values on another device; the array itself if it is there already.

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
        # In C order, in which kernels read weights; CuPy would keep an order that is all reversed.
        return _cupy().asarray(np.asarray(array, order="C"))
    raise DeviceError(
        message(
            f"there is no device {device!r}",
            hint='the devices are "cpu" and "cuda", the current GPU: '
            "`with cupy.cuda.Device(1):` makes another one current.",
        )
    )


def _cupy() -> Any:
    """Import CuPy, at the first use of a GPU and not before."""
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
