"""Choosing elements by their places. Reading is linear; its adjoint writes back.

    slice          <->  place into zeros
    gather         <->  scatter, where elements read twice add up
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.errors import ArgumentError, DtypeError, message
from minidl.kinds import Linear
from minidl.tensor import Tensor, as_tensor


class Slice(Linear):
    """Read a box of elements, none of them twice."""

    def __init__(self, shape: tuple[int, ...], index: Any):
        self.shape, self.index = shape, index

    def apply(self, x: Array) -> Array:
        return x[self.index]

    def adjoint(self, y: Array) -> Array:
        x = xp_of(y).zeros(self.shape, y.dtype)
        x[self.index] = y
        return x


class Gather(Linear):
    """Read elements by integer arrays; the adjoint adds up those that were read twice."""

    def __init__(self, shape: tuple[int, ...], index: Any):
        self.shape, self.index = shape, index

    def apply(self, x: Array) -> Array:
        return x[self.index]

    def adjoint(self, y: Array) -> Array:
        xp = xp_of(y)
        x = xp.zeros(self.shape, y.dtype)
        xp.add.at(x, self.index, y)
        return x


def getitem(x: Any, index: Any) -> Tensor:
    """Read x[index], with slices, integers, None, ``...``, integer arrays and bool arrays."""
    x = as_tensor(x)
    parts = index if isinstance(index, tuple) else (index,)
    plain = tuple(p.data if isinstance(p, Tensor) else p for p in parts)
    plain = tuple(np.asarray(p) if isinstance(p, list) else p for p in plain)
    # Places are moved to where x is: once, and not at each use.
    plain = tuple(xp_of(x.data).asarray(p) if hasattr(p, "dtype") else p for p in plain)
    arrays = [p for p in plain if hasattr(p, "dtype")]
    if any(a.dtype.kind not in "iub" for a in arrays):
        raise DtypeError(
            message(
                "indexing: an index array must hold integers or bools",
                f"received {[str(a.dtype) for a in arrays]}",
            )
        )
    try:
        op = Gather(x.shape, plain) if arrays else Slice(x.shape, plain)
        return op(x)
    except IndexError as cause:
        # IndexError also ends Python's iteration over a Tensor, so it stays one.
        raise IndexError(f"indexing a Tensor of shape {x.shape}: {cause}") from None


def take(x: Any, indices: Any, axis: int) -> Tensor:
    """Read rows of x along one axis, in the order (and number) of ``indices``."""
    x = as_tensor(x)
    places = xp_of(x.data).asarray(as_tensor(indices).data)
    return Gather(x.shape, (*[slice(None)] * (axis % x.ndim), places))(x)


class TakeAlong(Linear):
    """Read one element per place of ``index`` along an axis, none of them twice."""

    def __init__(self, size: int, index: Array, axis: int):
        self.size, self.index, self.axis = size, index, axis

    def apply(self, x: Array) -> Array:
        return xp_of(x).take_along_axis(x, self.index, self.axis)

    def adjoint(self, y: Array) -> Array:
        xp = xp_of(y)
        shape = list(y.shape)
        shape[self.axis] = self.size
        x = xp.zeros(shape, y.dtype)
        if self.index.shape[self.axis] == 1:
            xp.put_along_axis(x, self.index, y, self.axis)
            return x
        places = [xp.arange(n).reshape(n, *[1] * (y.ndim - a - 1)) for a, n in enumerate(y.shape)]
        places[self.axis] = self.index
        xp.add.at(x, tuple(places), y)
        return x


def take_along_axis(x: Any, index: Any, axis: int) -> Tensor:
    """Read, for each element of ``index``, the element of x at that place along ``axis``.

    ``index`` has the shape of x, save along ``axis``. (PyTorch calls it gather.)
    """
    x = as_tensor(x)
    places = as_tensor(index).data
    if places.dtype.kind not in "iu":
        raise DtypeError(f"take_along_axis: index must hold integers, received {places.dtype}")
    if places.ndim != x.ndim:
        raise ArgumentError(
            message(
                "take_along_axis: index must have as many axes as x",
                f"x has shape {x.shape}, index {places.shape}",
            )
        )
    axis = axis % x.ndim
    return TakeAlong(x.shape[axis], places, axis)(x)
