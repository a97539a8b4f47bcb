"""Choosing elements by their places. Reading is linear; its adjoint writes back.

    slice          <->  place into zeros
    gather         <->  scatter, where elements read twice add up
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.counts import axis_of
from minidl.errors import ArgumentError, DtypeError, PlaceError, ShapeError, message
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


def check_places(
    who: str, places: Array, size: int, least: int = 0, *, what: str = "index", told: str = "",
    hint: str = "",
) -> None:
    """Refuse indices that are not from ``least`` to ``size - 1``, or no integers.

    Every function that takes indices calls this: NumPy would find most of them out, but CuPy
    reads places that are not there at others, and says nothing. PyTorch's kernels stop there by
    an assertion on the GPU, which CuPy's do not have; so this waits for the GPU, once for each
    array of indices that lives there. Indices that NumPy holds are looked at where they are.

    Parameters
    ----------
    who : str
        The function's name, for the error.
    places : array of integers
    size : int
        The number of places.
    least : int
        0, or ``-size`` where negative indices count from the end.
    what, told, hint : str
        What the error calls an index, and what else it says: a fact, and what mends it.

    Raises
    ------
    PlaceError
        Naming the first index outside.
    DtypeError
        If they are no integers.
    """
    if places.dtype.kind not in "iu":
        raise DtypeError(f"{who}: indices must be integers, received {places.dtype}")
    places = places.astype(np.int64, copy=False)  # in narrower ones CuPy has no room for the size
    wrong = (places < least) | (places >= size)
    if wrong.any():
        there = f"there are only {least} to {size - 1}" if size else "there are none at all"
        facts = [there, told] if told else [there]
        raise PlaceError(
            message(f"{who}: there is no {what} {int(places[wrong][0])}", *facts, hint=hint)
        )


def getitem(x: Any, index: Any) -> Tensor:
    """Read x[index], with slices, integers, None, ``...``, integer arrays and bool arrays.

    Raises
    ------
    IndexError
        If there is no such element. Negative integers count from the end. (A Tensor of integers
        on a GPU is waited for, to see that: see ``check_places``. An array of NumPy's is not.)
    """
    x = as_tensor(x)
    try:
        places = plain_index(x, index)
        op = Gather if any(hasattr(p, "dtype") for p in places) else Slice
        return op(x.shape, places)(x)
    except PlaceError:
        raise
    except IndexError as cause:
        # IndexError also ends Python's iteration over a Tensor, so it stays one.
        raise IndexError(f"indexing a Tensor of shape {x.shape}: {cause}") from None


def plain_index(x: Tensor, index: Any) -> tuple[Any, ...]:
    """Make an index of x plain, an entry per axis, with Tensors and lists as arrays beside x."""
    xp = xp_of(x.data)
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(np.asarray(p) if isinstance(p, list) else p for p in parts)
    if xp is not np:  # which would say so itself
        _check_index(x, parts)
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


def _check_index(x: Tensor, parts: tuple[Any, ...]) -> None:
    """Check the indices in integer arrays, each along its own axis of x."""
    arrays = [p.data if isinstance(p, Tensor) else p for p in parts]
    kinds = [a.dtype.kind if hasattr(a, "dtype") else "" for a in arrays]
    taken = [a.ndim if kind == "b" else 0 if a is None or a is Ellipsis else 1
             for a, kind in zip(arrays, kinds, strict=True)]
    axis = 0
    for array, kind, axes in zip(arrays, kinds, taken, strict=True):
        if kind and kind in "iu" and axis < x.ndim:
            n = x.shape[axis]
            check_places(f"indexing a Tensor of shape {x.shape}, axis {axis}", array, n, -n)
        axis += x.ndim - sum(taken) if array is Ellipsis else axes


def take(x: Any, indices: Any, axis: int | None = None) -> Tensor:
    """Read rows of x along one axis, in the order (and number) of ``indices``.

    Without an axis, as in PyTorch: elements of x, counted as they are laid out in a row. Negative
    indices count from the end.

    Raises
    ------
    PlaceError
        If there is no such row; indices on a GPU are waited for, to see that.
    """
    x, given = as_tensor(x), as_tensor(indices).data
    axis = None if axis is None else axis_of("take", axis, x.ndim)
    n = x.data.size if axis is None else x.data.shape[axis]
    check_places("take", given, n, -n, told=f"x has shape {x.shape}, axis is {axis}")
    places = xp_of(x.data).asarray(given)
    if axis is None:
        return Gather((n,), (places,))(x.reshape(-1))
    return Gather(x.shape, (*[slice(None)] * axis, places))(x)


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

    ``index`` has the shape of x, save along ``axis``; negative ones count from the end.
    (PyTorch's name for it is gather.)

    Raises
    ------
    PlaceError
        If there is no such place; indices on a GPU are waited for, to see that.
    """
    x = as_tensor(x)
    places = as_tensor(index).data
    if places.ndim != x.ndim:
        raise ArgumentError(
            message(
                "take_along_axis: index must have as many axes as x",
                f"x has shape {x.shape}, index {places.shape}",
            )
        )
    axis = axis_of("take_along_axis", axis, x.ndim)
    n = x.shape[axis]
    check_places("take_along_axis", places, n, -n, told=f"x has shape {x.shape}, axis is {axis}")
    return TakeAlong(n, xp_of(x.data).asarray(places), axis)(x)


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
    PlaceError
        If an index is not a place along ``dim``; indices on a GPU are waited for, to see that.
    """
    x, index = as_tensor(x), as_tensor(index)
    if index.ndim != x.ndim:
        raise ArgumentError(
            message(
                "gather: index must have as many axes as x",
                f"x has shape {x.shape}, index {index.shape}",
            )
        )
    dim = axis_of("gather", dim, max(x.ndim, 1))
    if not x.ndim:
        return gather(x[None], 0, index[None])[0]
    box = [slice(None) if a == dim else slice(n) for a, n in enumerate(index.shape)]
    inside = x[tuple(box)] if index.shape != x.shape else x
    if any(a != dim and n != inside.shape[a] for a, n in enumerate(index.shape)):
        raise ShapeError(
            message(
                f"gather: index may be longer than x along axis {dim} alone",
                f"x has shape {x.shape}, index {index.shape}",
            )
        )
    n = x.shape[dim]
    check_places("gather", index.data, n, told=f"x has shape {x.shape}, dim is {dim}")
    return TakeAlong(n, xp_of(x.data).asarray(index.data), dim)(inside)
