"""Where arrays live: on the CPU (NumPy) or on a GPU (CuPy), and how they get there."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, DeviceError, message

Array = Any
"""A NumPy or a CuPy array."""


def xp_of(array: Array) -> Any:
    """Return the module (numpy or cupy) that an array belongs to."""
    return np if isinstance(array, (np.ndarray, np.generic)) else _cupy_of(array)


def device_of(array: Array) -> str:
    """Say where an array lives: ``"cpu"`` or ``"cuda"``."""
    return "cpu" if isinstance(array, (np.ndarray, np.generic)) else _cupy_of(array) and "cuda"


def is_array(value: object) -> bool:
    """Tell whether a value is a NumPy or a CuPy array (CuPy is not imported to find out)."""
    if isinstance(value, np.ndarray):
        return True
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(value, cupy.ndarray)


def to_device(array: Array, device: str | None) -> Array:
    """Return the values on another device; the array itself if it is there already.

    Parameters
    ----------
    device : "cpu", "cuda" or "cuda:N"
        "cuda" is the current GPU. By its number, too, only that one is taken: what is computed
        with arrays of another would lie on the current one.

    Raises
    ------
    DeviceError
        If the device is unknown or this machine cannot use it.
    """
    if device is None or device == device_of(array):
        return array
    if device == "cpu":
        return _cupy().asnumpy(array)
    if is_gpu(device):
        cupy = _cupy()
        _check_current(cupy, device)
        if not isinstance(array, np.ndarray | np.generic):
            return array
        # In C order, in which kernels read weights; CuPy would keep an order that is all reversed.
        return cupy.asarray(np.asarray(array, order="C"))
    raise DeviceError(
        message(
            f"there is no device {device!r}",
            hint='the devices are "cpu" and "cuda", the current GPU, or its name "cuda:0".',
        )
    )


def is_gpu(device: object) -> bool:
    """Tell whether a name is a GPU's: "cuda", or "cuda:" and a number."""
    return isinstance(device, str) and re.fullmatch("cuda(:[0-9]+)?", device) is not None


def _check_current(cupy: Any, device: str) -> None:
    """Refuse the name of a GPU that is not the current one."""
    number = device.partition(":")[2]
    current = cupy.cuda.runtime.getDevice() if number else ""
    if number and int(number) != current:
        count = cupy.cuda.runtime.getDeviceCount()
        there = int(number) < count
        raise DeviceError(
            message(
                f"{device} is not the current GPU, which is cuda:{current}" if there
                else f"there is no GPU {device}",
                f"this machine has {', '.join(f'cuda:{n}' for n in range(count))}",
                hint=f"`with cupy.cuda.Device({number}):` around the program makes it the current "
                'one, "cuda".' if there else "",
            )
        )


def _cupy_of(array: object) -> Any:
    """Return CuPy, to which an array belongs; if it is none at all, say how that can be."""
    if not is_array(array):
        kind = type(array).__name__
        raise ArgumentError(
            message(
                f"this is no array but a {kind}",
                hint="x.data of a Tensor is an array: write x.data = y.data for a Tensor y, or "
                "x[...] = y to copy its values.",
            )
        )
    return sys.modules["cupy"]


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
