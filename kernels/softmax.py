"""Launches softmax.cu: softmax and its logarithm along one axis, and the derivative of both.

The names, arguments and results are those of ``minidl.compute.reference.softmax``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from minidl.compute.arrays import Array
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import lanes_of, launch_each, runs_natively
from minidl.cuda.prepare import WARP, ceil_div
from minidl.cuda.source import folder, source_of
from minidl.kernels.elementwise import alike, order_of
from minidl.kernels.packs import SHARE, in_order, launch_packs

SOURCE = source_of(folder() / "softmax.cu")

Work = Callable[..., None]
"""Launches a kernel of this file."""


class Rows(NamedTuple):
    """The struct of softmax.cu."""

    N: int
    C: int
    P: int


def _laid(x: Array, axis: int) -> tuple[tuple[int, ...], Rows]:
    """The order of the axes in memory, or as they are if there are gaps; and the rows so."""
    order = order_of(x) or tuple(range(x.ndim))
    sizes, place = [x.shape[a] for a in order], order.index(axis % x.ndim)
    return order, Rows(prod(sizes[:place]), sizes[place], prod(sizes[place + 1 :]))


def _by_row(kernel: str, rows: Rows, result: Array, logarithmic: bool, **arrays: Array) -> None:
    launch_each(kernel, rows.N * rows.P, **arrays, rows=rows, logarithmic=int(logarithmic))


def _by_warp(kernel: str, rows: Rows, result: Array, logarithmic: bool, **arrays: Array) -> None:
    launch_each(kernel, rows.N * WARP, **arrays, rows=rows, logarithmic=int(logarithmic))


def _by_pack(kernel: str, rows: Rows, result: Array, logarithmic: bool, **arrays: Array) -> None:
    """Launch threads that take packs of rows, or, where packs lie along rows, some rows."""
    lanes, native = lanes_of(SOURCE, result), runs_natively(result)
    along = rows.P == 1 and (lanes <= rows.C or not native)
    length = rows.C if along else rows.C * lanes  # of a row, or of a pack of rows
    each = max(SHARE // 4 // length, 1) if native else 1
    if rows.P > 1:
        threads = rows.N * ceil_div(rows.P, each * lanes)
    else:
        threads = ceil_div(rows.N, each * (length // rows.C))
    launch_packs(kernel, threads, each * length, result, **arrays, rows=rows,
                 logarithmic=int(logarithmic), each=each)


def _softmax(
    kernel: str, x: Array, axis: int, work: Work, logarithmic: bool = False
) -> Array:
    order, rows = _laid(x, axis)
    y = alike(x, order)
    if y.size:
        arrays = {"x": x.transpose(order), "y": y.transpose(order)}
        work(kernel, rows, y, logarithmic, **arrays)
    return y


def _softmax_adjoint(
    kernel: str, grad: Array, y: Array, axis: int, work: Work, logarithmic: bool = False
) -> Array:
    order, rows = _laid(y, axis)
    grad_x = alike(y, order)
    if y.size:
        arrays = {"grad": in_order(grad, order), "y": y.transpose(order)}
        work(kernel, rows, grad_x, logarithmic, **arrays, grad_x=grad_x.transpose(order))
    return grad_x


def _long_rows(*arrays: Array, axis: int, logarithmic: bool = False) -> str:
    rows = _laid(arrays[-1], axis)[1]
    fits = rows.P == 1 and rows.C >= WARP
    return "" if fits else f"rows do not lie together, or have fewer than {WARP} numbers"


def _ladder(op: str, launch: Callable[..., Array]) -> Ladder:
    return Ladder(op, [
        Rung("naive", launch, work=_by_row),
        Rung("packs", launch, native=True, work=_by_pack),
        Rung("warp", launch, fits=_long_rows, work=_by_warp),
    ])


SOFTMAX = _ladder("softmax", _softmax)
SOFTMAX_ADJOINT = _ladder("softmax_adjoint", _softmax_adjoint)


def softmax(x: Array, axis: int, logarithmic: bool = False) -> Array:
    """Make numbers of the sum 1 in the ratios of exp(x), or take their logarithms."""
    return SOFTMAX.climb(x, axis=axis, logarithmic=logarithmic)


def softmax_adjoint(grad: Array, y: Array, axis: int, logarithmic: bool = False) -> Array:
    """Turn the gradient of y, what ``softmax`` returns, into that of x."""
    return SOFTMAX_ADJOINT.climb(grad, y, axis=axis, logarithmic=logarithmic)
