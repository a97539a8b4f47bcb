"""Launches activation.cu: rectifiers and their derivative.

The names, arguments and results are those of ``minidl.compute.reference.activation``.
"""

from __future__ import annotations

from typing import Any

from minidl.compute.arrays import Array
from minidl.compute.layout import channels_last, is_channels_last
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.prepare import FROM_NHWC
from minidl.cuda.source import folder, source_of
from minidl.kernels.elementwise import by_number, by_rows, fits, order_of

SOURCE = source_of(folder() / "activation.cu")

_VALUE: dict[str, Any] = {"names": ("x",), "results": ("y",)}
_ADJOINT: dict[str, Any] = {"names": ("grad", "x"), "results": ("grad_x",)}


def _adjoint(kernel: str, grad: Array, x: Array, **settings: Any) -> Array:
    """Run a kernel on a gradient that is laid as x, or else is copied so."""
    if order_of(grad, x) is None:
        grad = channels_last(grad).transpose(FROM_NHWC)
    return by_rows(kernel, grad, x, **settings)


def _fits(grad: Array, x: Array, slope: float) -> str:
    return fits(x if x.ndim == 4 and is_channels_last(x) else grad, x)


RECTIFY = Ladder("rectify", [
    Rung("naive", by_number, **_VALUE),
    Rung("packs", by_rows, fits=fits, native=True, source=SOURCE, **_VALUE),
])

RECTIFY_ADJOINT = Ladder("rectify_adjoint", [
    Rung("naive", by_number, **_ADJOINT),
    Rung("packs", _adjoint, fits=_fits, native=True, source=SOURCE, **_ADJOINT),
])


def rectify(x: Array, slope: float) -> Array:
    """Keep x where it is not below 0, and take slope * x elsewhere."""
    return RECTIFY.climb(x, slope=slope)


def rectify_adjoint(grad: Array, x: Array, slope: float) -> Array:
    """Keep a gradient where x is above 0, and take slope * grad elsewhere."""
    return RECTIFY_ADJOINT.climb(grad, x, slope=slope)
