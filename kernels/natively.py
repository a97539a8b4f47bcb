"""Computes by the kernels as the CPU's own code, where there is a compiler and they cover it.

A rung is chosen as on a GPU, among those whose threads never meet. What none of them covers is left
to NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.cuda import native
from minidl.cuda.launch import EXECUTOR, REALS
from minidl.errors import DeviceError, KernelError, message
from minidl.kernels.ladders import LADDERS

_LADDERS = {getattr(reference, op): ladder for op, ladder in LADDERS.items()}


def compute(
    function: Callable[..., Any], arrays: tuple[Array, ...], settings: dict[str, Any]
) -> Any:
    """Compute what a function of ``minidl.compute.reference`` does; None where that is not covered.

    A compiler that fails is told of once, by a warning; then nothing is covered any more.
    """
    ladder = _LADDERS.get(function)
    if ladder is None or native.why_not():
        return None
    floats = [array.dtype for array in arrays if array.dtype.kind == "f"]
    if not floats or floats[0] not in REALS or floats.count(floats[0]) < len(floats):
        return None
    token = EXECUTOR.set(native.run)
    try:
        rung = ladder.native_rung(*arrays, **settings)
        return rung(*arrays, **settings) if rung else None
    except (KernelError, OSError) as cause:
        native.give_up(cause)
        return None
    finally:
        EXECUTOR.reset(token)


def require() -> None:
    """Raise an error that says what is missing, where kernels cannot run natively."""
    if native.why_not():
        raise DeviceError(
            message("kernels cannot run natively here", native.why_not(),
                    hint="install g++ or clang++, or use_kernels('numpy').")
        )
