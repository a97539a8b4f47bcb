"""Moving elements without changing them: reshaping, joining, splitting.

All of it is linear, and every adjoint is the movement back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.autograd import Node, Op
from minidl.compute.arrays import Array, xp_of
from minidl.compute.counts import axis_of, distinct, whole, wholes
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.index import Slice
from minidl.kinds import Broadcast, Linear
from minidl.naming import either_name
from minidl.tensor import Tensor, as_tensor

Shape = Sequence[int]


class Reshape(Linear):
    def __init__(self, source: tuple[int, ...], target: tuple[int, ...]):
        self.source, self.target = source, target

    def explain(self, arrays: Sequence[Array]) -> None:
        wholes("reshape: a size, unless it is the one -1,", self.target)  # as (-2) (-3) is 6

    def apply(self, x: Array) -> Array:
        return x.reshape(self.target)

    def adjoint(self, y: Array) -> Array:
        return y.reshape(self.source)


class Permute(Linear):
    def __init__(self, order: tuple[int, ...]):
        self.order = order
        self.back = tuple(map(order.index, range(len(order))))

    def apply(self, x: Array) -> Array:
        return x.transpose(self.order)

    def adjoint(self, y: Array) -> Array:
        return y.transpose(self.back)


def reshape(x: Any, shape: Shape | int) -> Tensor:
    """Lay out the elements, in order, in another shape; one size may be -1."""
    x = as_tensor(x)
    size = x.data.size
    target = (shape,) if isinstance(shape, int) else tuple(shape)
    if target.count(-1) == 1:
        open_ = target.index(-1)
        before, after = target[:open_], target[open_ + 1 :]
        known = math.prod((*before, *after))
        if known and size % known == 0:
            target = (*before, size // known, *after)
    if -1 in target or math.prod(target) != size:
        raise ShapeError(
            message(
                "reshape: the new shape must hold the same number of elements",
                f"x has shape {x.shape}, {x.size} elements",
                f"the new shape is {tuple(shape) if not isinstance(shape, int) else (shape,)}",
            )
        )
    return x if target == x.data.shape else Reshape(x.data.shape, target)(x)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Join the axes from ``start_dim`` to ``end_dim`` into one."""
    x = as_tensor(x)
    shape = x.data.shape
    if not shape:
        return reshape(x, (1,))
    first, last = (axis_of("flatten", dim, len(shape)) for dim in (start_dim, end_dim))
    if first > last:
        raise ArgumentError(f"flatten: start_dim {start_dim} lies after end_dim {end_dim}")
    joined = math.prod(shape[first : last + 1])
    return reshape(x, (*shape[:first], joined, *shape[last + 1 :]))


def permute(x: Any, dims: Sequence[int]) -> Tensor:
    """Put the axes in another order."""
    x = as_tensor(x)
    order = tuple(axis_of("permute", d, x.ndim) for d in dims)
    if sorted(order) != list(range(x.ndim)):
        raise ArgumentError(
            message(
                "permute: dims must name every axis once",
                f"x has {x.ndim} axes, dims is {tuple(dims)}",
            )
        )
    return Permute(order)(x)


def transpose(x: Any, dim0: int, dim1: int) -> Tensor:
    """Exchange two axes."""
    x = as_tensor(x)
    a, b = axis_of("transpose", dim0, x.ndim), axis_of("transpose", dim1, x.ndim)
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return permute(x, order)


def moveaxis(x: Any, source: Sequence[int], destination: Sequence[int]) -> Tensor:
    """Move some axes to other places; the rest keep their order."""
    x = as_tensor(x)
    taken = [axis_of("moveaxis", a, x.ndim) for a in source]
    places = [axis_of("moveaxis", a, x.ndim) for a in destination]
    order = [a for a in range(x.ndim) if a not in taken]
    for to, axis in sorted(zip(places, taken, strict=True)):
        order.insert(to, axis)
    return permute(x, order)


@either_name
def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Drop the axes of size 1: all of them, or those named (others are left alone)."""
    x = as_tensor(x)
    if axis is None:
        named = set(range(x.ndim))
    else:
        wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
        named = {*distinct("squeeze", [axis_of("squeeze", a, x.ndim or 1) for a in wanted])}
    return reshape(x, tuple(s for a, s in enumerate(x.shape) if s != 1 or a not in named))


@either_name
def unsqueeze(x: Any, axis: int) -> Tensor:
    """Insert a new axis of size 1 at this place."""
    x = as_tensor(x)
    place = axis_of("unsqueeze", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


def expand(x: Any, shape: Shape) -> Tensor:
    """Repeat axes of size 1 (and new ones in front) up to ``shape``; -1 keeps a size."""
    x = as_tensor(x)
    new = len(shape) - x.ndim
    target = tuple(x.shape[a - new] if s == -1 and a >= new else s for a, s in enumerate(shape))
    target = wholes("expand: a size, unless it is -1 for an axis that is there,", target)
    if new < 0 or any(
        size not in (1, target[a + new]) for a, size in enumerate(x.shape)
    ):
        raise ShapeError(
            message(
                "expand: only axes of size 1 can be repeated",
                f"x has shape {x.shape}, to be expanded to {tuple(shape)}",
            )
        )
    return x if target == x.shape else Broadcast(x.shape, target)(x)


broadcast_to = expand


# --- joining and splitting ---


class Cat(Op):
    """Join arrays along an axis; the gradient of each is its own slice."""

    def __init__(self, axis: int, sizes: Sequence[int]):
        self.axis = axis
        self.starts = np.cumsum([0, *sizes])

    def forward(self, *arrays: Array) -> Array:
        return xp_of(arrays[0]).concatenate(arrays, self.axis)

    def keeps(self, i: int) -> tuple[int, ...]:
        return ()

    def vjp(self, i: int, grad: Tensor, node: Node) -> Tensor:
        part = slice(int(self.starts[i]), int(self.starts[i + 1]))
        return Part(grad.shape, (*[slice(None)] * self.axis, part))(grad)


class Part(Slice):
    """A part that is laid out as an array of its own, as what computes with it reads it often."""

    def apply(self, x: Array) -> Array:
        part = super().apply(x)
        return part if part.flags.c_contiguous else part.copy("K")


@either_name
def cat(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join Tensors along an existing axis; their other sizes must agree."""
    parts = [as_tensor(t) for t in tensors]
    if not parts:
        raise ArgumentError("cat: received no tensors")
    if len({t.ndim for t in parts}) > 1:  # an empty list, to which something is joined
        parts = [t for t in parts if t.shape != (0,)]
    axis = axis_of("cat", axis, parts[0].ndim)
    others = {(*t.shape[:axis], *t.shape[axis + 1 :]) for t in parts}
    if len(others) > 1 or len({t.ndim for t in parts}) > 1:
        raise ShapeError(
            message(
                f"cat: the tensors must agree in every axis but axis {axis}",
                f"their shapes are {[t.shape for t in parts]}",
            )
        )
    return Cat(axis, [t.shape[axis] for t in parts])(*parts)


concatenate = cat


@either_name
def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """Join Tensors of one shape along a new axis."""
    parts = [as_tensor(t) for t in tensors]
    if len({t.shape for t in parts}) > 1:
        raise ShapeError(
            message("stack: the tensors must have one shape",
                    f"received {[t.shape for t in parts]}")
        )
    return cat([unsqueeze(t, axis) for t in parts], axis)


@either_name
def split(x: Any, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into pieces of ``size`` (the last may be smaller), or of the sizes listed.

    Raises
    ------
    ArgumentError
        If a size is no integer, or negative; the size of all pieces must be at least 1.
    ShapeError
        If the sizes listed do not add up to the length of the axis.
    """
    x = as_tensor(x)
    axis = axis_of("split", axis, x.ndim)
    total = x.shape[axis]
    if not isinstance(size, Sequence | np.ndarray):
        bounds = [*range(0, total, whole("split: size", size, 1)), total]
    else:
        bounds = [0, *itertools.accumulate(wholes("split: a size", size))]
        if bounds[-1] != total:
            raise ShapeError(
                message(
                    f"split: the sizes must add up to the length of axis {axis}",
                    f"x has shape {x.shape}, the sizes {list(size)} add up to {bounds[-1]}",
                )
            )
    return tuple(_between(x, axis, a, b) for a, b in itertools.pairwise(bounds))


@either_name
def chunk(x: Any, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Cut into ``chunks`` pieces, of which the last may be smaller, or missing."""
    x = as_tensor(x)
    along = axis_of("chunk", axis, x.ndim)
    chunks = whole("chunk: chunks", chunks, 1)
    return split(x, max(-(-x.shape[along] // chunks), 1), along)


def _between(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return Slice(x.shape, (*[slice(None)] * axis, slice(start, stop)))(x)
