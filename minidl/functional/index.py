"""Choosing elements by their places. Reading is linear; its adjoint writes back.

    slice          <->  place into zeros
    gather         <->  scatter, where elements read twice add up
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.errors import ArgumentError, DtypeError, ShapeError, message
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
        self.held = tuple([p for p in index if hasattr(p, "dtype")])

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
    places = plain_index(x, index)
    try:
        op = Gather if any(hasattr(p, "dtype") for p in places) else Slice
        return op(x.shape, places)(x)
    except IndexError as cause:
        # IndexError also ends Python's iteration over a Tensor, so it stays one.
        raise IndexError(f"indexing a Tensor of shape {x.shape}: {cause}") from None


def plain_index(x: Tensor, index: Any) -> tuple[Any, ...]:
    """Make an index of x plain, an entry per axis, with Tensors and lists as arrays beside x."""
    xp = xp_of(x.data)
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(np.asarray(p) if isinstance(p, list) else p for p in parts)
    # Places are moved to where x is: once, and not at each use. NumPy's are copied for the graph,
    # which sees no change of them.
    own = xp.asarray if x.node is None else xp.array
    plain = tuple(
        xp.asarray(p.data) if isinstance(p, Tensor) else own(p) if hasattr(p, "dtype") else p
        for p in parts
    )
    arrays = [p for p in plain if hasattr(p, "dtype")]
    if any(a.dtype.kind not in "iub" for a in arrays):
        raise DtypeError(
            message(
                "indexing: an index array must hold integers or bools",
                f"received {[str(a.dtype) for a in arrays]}",
            )
        )
    return plain


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Read rows of x along one axis, in the order (and number) of ``indices``.

    Without an axis, as in PyTorch: elements of x, counted as they are laid out in a row.
    """
    x = as_tensor(x)
    places = xp_of(x.data).asarray(as_tensor(indices).data)
    if axis is None:
        return Gather((x.size,), (places,))(x.reshape(-1))
    return Gather(x.shape, (*[slice(None)] * (axis % x.ndim), places))(x)


class TakeAlong(Linear):
    """Read one element per place of ``index`` along an axis; the adjoint adds up repeated ones.

    Where none is read twice (``once``), it writes.
    """

    def __init__(self, size: int, index: Array, axis: int, once: bool = False):
        self.size, self.index, self.axis, self.held = size, index, axis, (index,)
        self.once = once or index.shape[axis] == 1

    def apply(self, x: Array) -> Array:
        return xp_of(x).take_along_axis(x, self.index, self.axis)

    def adjoint(self, y: Array) -> Array:
        xp = xp_of(y)
        shape = list(y.shape)
        shape[self.axis] = self.size
        x = xp.zeros(shape, y.dtype)
        if self.once:
            xp.put_along_axis(x, self.index, y, self.axis)
            return x
        places = [xp.arange(n).reshape(n, *[1] * (y.ndim - a - 1)) for a, n in enumerate(y.shape)]
        places[self.axis] = self.index
        xp.add.at(x, tuple(places), y)
        return x


def take_along_axis(x: Any, index: Any, axis: int) -> Tensor:
    """Read, for each element of ``index``, the element of x at that place along ``axis``.

    ``index`` has the shape of x, save along ``axis``. (PyTorch's name for it is gather.)
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
    return TakeAlong(x.shape[axis], xp_of(x.data).asarray(places), axis)(x)


def gather(x: Any, dim: int, index: Any) -> Tensor:
    """Read, for each element of ``index``, the element of x at that place along ``dim``.

    y[i, j, k] = x[index[i, j, k], j, k] for dim = 0, and so on.

    Parameters
    ----------
    x : Tensor
    dim : int
    index : Tensor of integers, with as many axes as x
        Along the other axes it may be shorter than x: the rest of x is left out.

    Raises
    ------
    ShapeError
        If index is longer than x along another axis.
    ArgumentError
        If an index is not a place along ``dim``.
    """
    x, index = as_tensor(x), as_tensor(index)
    if index.ndim != x.ndim or not -max(x.ndim, 1) <= dim < max(x.ndim, 1):
        raise ArgumentError(
            message(
                f"gather: index must have as many axes as x, and dim {dim} be one of them",
                f"x has shape {x.shape}, index {index.shape}",
            )
        )
    if not x.ndim:
        return gather(x[None], 0, index[None])[0]
    dim %= x.ndim
    box = [slice(None) if a == dim else slice(n) for a, n in enumerate(index.shape)]
    inside = x[tuple(box)] if index.shape != x.shape else x
    if any(a != dim and n != inside.shape[a] for a, n in enumerate(index.shape)):
        raise ShapeError(
            message(
                f"gather: index may be longer than x along axis {dim} alone",
                f"x has shape {x.shape}, index {index.shape}",
            )
        )
    if xp_of(index.data) is np and index.size and index.dtype.kind in "iu":  # no wait for a GPU
        low, high = index.data.min(), index.data.max()
        if low < 0 or high >= x.shape[dim]:
            raise ArgumentError(
                message(
                    f"gather: an index is outside 0 to {x.shape[dim] - 1}",
                    f"received indices from {low} to {high}",
                )
            )
    return take_along_axis(inside, index, dim)
