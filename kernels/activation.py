"""Launches activation.cu: rectifiers and their derivative.

The names, arguments and results are those of ``minidl.compute.reference.activation``.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.source import folder, source_of
from minidl.kernels.elementwise import (
    alike,
    as_written,
    fits,
    launch_naive,
    launch_rows,
    order_of,
)

SOURCE = source_of(folder() / "activation.cu")


def _rectify_naive(kernel: str, x: Array, slope: float) -> Array:
    y = xp_of(x).empty(x.shape, x.dtype)
    launch_naive(kernel, x=as_written(x), y=y, slope=float(slope), S=x.size)
    return y


def _rectify(kernel: str, x: Array, slope: float) -> Array:
    order = order_of(x)
    assert order is not None
    y = alike(x, order)
    launch_rows(kernel, SOURCE, order, x=x, y=y, slope=float(slope), S=x.size)
    return y


def _adjoint_naive(kernel: str, grad: Array, x: Array, slope: float) -> Array:
    result = xp_of(x).empty(x.shape, x.dtype)
    arrays = {"grad": as_written(grad), "x": as_written(x), "grad_x": result}
    launch_naive(kernel, **arrays, slope=float(slope), S=x.size)
    return result


def _adjoint(kernel: str, grad: Array, x: Array, slope: float) -> Array:
    order = order_of(x)
    assert order is not None
    result = alike(x, order)
    arrays = {"grad": grad, "x": x, "grad_x": result}
    launch_rows(kernel, SOURCE, order, **arrays, slope=float(slope), S=x.size)
    return result


RECTIFY = Ladder("rectify", [
    Rung("naive", _rectify_naive),
    Rung("packs", _rectify, fits=fits, native=True),
])

RECTIFY_ADJOINT = Ladder("rectify_adjoint", [
    Rung("naive", _adjoint_naive),
    Rung("packs", _adjoint, fits=fits, native=True),
])


def rectify(x: Array, slope: float) -> Array:
    """Keep x where it is not below 0, and take slope * x elsewhere."""
    return RECTIFY.climb(x, slope=slope)


def rectify_adjoint(grad: Array, x: Array, slope: float) -> Array:
    """Keep a gradient where x is above 0, and take slope * grad elsewhere."""
    return RECTIFY_ADJOINT.climb(grad, x, slope=slope)
