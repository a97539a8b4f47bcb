"""Launches norm.cu: normalising over axes and its derivative, each a ladder of kernels.

The names, arguments and results are those of ``minidl.compute.reference.norm``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import climb, rung
from minidl.cuda.launch import launch

THREADS = 256
"""Of a block, at most."""

COLUMNS = 32
"""Statistics that a block of v5 works on."""

BLOCKS = 528
"""Blocks that v4 and v5 split the work into, about: four for each multiprocessor of a large GPU.
A constant, so that the sums, and so the results, do not depend on the GPU."""

SHORTEST = 8
"""Values that a thread of v4 and v5 has at least."""


def normalize(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """y in the shape of x, and s with ``axes`` of size 1."""
    return climb("normalize", x, axes=axes, eps=eps)


def normalize_adjoint(grad: Array, y: Array, inverse: Array, axes: tuple[int, ...]) -> Array:
    """grad_x, from the gradient of y."""
    return climb("normalize_adjoint", grad, y, inverse, axes=axes)


# How the kernels see an array.


@dataclass(frozen=True)
class View:
    """An array as (A, B, P), once its axes are in ``order``: one statistic for each b."""

    order: tuple[int, ...]
    A: int
    B: int
    P: int

    @property
    def values(self) -> int:
        """Values of one statistic."""
        return self.A * self.P

    def parts(self, statistics: int) -> tuple[int, int]:
        """The blocks that share a statistic, and the values of each, where a block has so many."""
        tiles = -(-self.B // statistics)
        shortest = SHORTEST * THREADS // statistics
        wanted = max(min(BLOCKS // tiles, self.values // shortest), 1)
        length = -(-self.values // wanted // 4) * 4  # whole packs
        return -(-self.values // length), length

    def back(self, array: Array) -> Array:
        """An array whose axes are in ``order``, with its axes as they were."""
        return array.transpose([self.order.index(axis) for axis in range(array.ndim)])


def view_of(x: Array, axes: tuple[int, ...]) -> View:
    """In the order that the axes have in memory, so that channels-last arrays are not copied.

    Where that is not of the form (A, B, P), the axes to sum over are moved to the end.
    """
    return _view(x.shape, x.strides, axes)


@lru_cache(maxsize=1024)  # asked by every rung, at every step
def _view(shape, strides, axes) -> View:
    summed = {axis % len(shape) for axis in axes}
    in_memory = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    moved = sorted(range(len(shape)), key=lambda axis: axis in summed)
    return _folded(shape, summed, in_memory) or _folded(shape, summed, moved)


def _folded(shape, summed, order) -> View | None:
    before = kept = after = 1
    for axis in order:
        if axis not in summed:
            if after > 1 and shape[axis] > 1:
                return None
            kept *= shape[axis]
        elif kept > 1:
            after *= shape[axis]
        else:
            before *= shape[axis]
    return View(tuple(order), before, kept, after) if kept > 1 else View(tuple(order), 1, 1, before)


# Which rung fits: the reason why not, or nothing.


def _packs(x, axes):
    pack = 16 // x.dtype.itemsize
    return "" if view_of(x, axes).P % pack == 0 else f"P must be a multiple of {pack}"


def _split(x, axes):
    return "" if view_of(x, axes).parts(1)[0] > 1 else "one block per statistic is enough"


def _columns(x, axes):
    return "" if view_of(x, axes).P == 1 else "neighbouring statistics lie apart, as P > 1"


def _of_x(fits):
    return lambda x, axes, eps: fits(x, axes) if x.size else ""


def _of_grad(fits):
    return lambda grad, y, inverse, axes: fits(grad, axes) if grad.size else ""


# Launching. ``read``: the arrays that statistics are made of; ``rest``: what the last kernel adds.


def _one_thread_each(view, read, rest, kernel):
    sizes = {"A": view.A, "B": view.B, "P": view.P}
    launch(kernel, -(-view.B // THREADS), THREADS, **read, **rest, **sizes)


def _one_block_each(view, read, rest, kernel, pack=False):
    """In whole warps, so many that a thread has about four loads."""
    sizes = {"A": view.A, "B": view.B, "P": view.P}
    loads = view.values // (4 if pack else 1)
    warps = min(-(-loads // (4 * 32)), THREADS // 32)
    launch(kernel, view.B, 32 << (warps - 1).bit_length(), **read, **rest, **sizes)


def _in_parts(view, read, rest, first, kernel, statistics=1):
    """``first`` finds the statistics of the parts, ``kernel`` puts them together and writes."""
    parts, length = view.parts(statistics)
    sizes = {"A": view.A, "B": view.B, "parts": parts, "length": length}
    if statistics == 1:
        sizes["P"] = view.P
    array = next(iter(read.values()))
    partial = xp_of(array).empty((2, parts, view.B), array.dtype)
    blocks = parts * -(-view.B // statistics)
    launch(first, blocks, THREADS, **read, partial=partial, **sizes)
    launch(kernel, blocks, THREADS, **read, **rest, partial=partial, **sizes)


def _normalize(x, axes, eps, launching, **kernels):
    xp, summed = xp_of(x), {axis % x.ndim for axis in axes}
    sizes = [1 if axis in summed else size for axis, size in enumerate(x.shape)]
    if x.size == 0:  # the mean of no values is not a number
        return xp.empty(x.shape, x.dtype), xp.full(sizes, xp.nan, x.dtype)
    view = view_of(x, axes)
    y = xp.empty([x.shape[axis] for axis in view.order], x.dtype)
    inverse = xp.empty([sizes[axis] for axis in view.order], x.dtype)
    rest = {"y": y, "inverse": inverse, "eps": eps}
    launching(view, {"x": x.transpose(view.order)}, rest, **kernels)
    return view.back(y), view.back(inverse)


def _normalize_adjoint(grad, y, inverse, axes, launching, **kernels):
    xp = xp_of(grad)
    if grad.size == 0:
        return xp.empty(grad.shape, grad.dtype)
    view = view_of(grad, axes)
    grad, y, inverse = (array.transpose(view.order) for array in (grad, y, inverse))
    grad_x = xp.empty(grad.shape, grad.dtype)
    launching(view, {"grad": grad, "y": y}, {"inverse": inverse, "grad_x": grad_x}, **kernels)
    return view.back(grad_x)


# The rungs.


@rung("normalize", 1)
def normalize_v1_naive(x, axes, eps):
    return _normalize(x, axes, eps, _one_thread_each, kernel="normalize_v1_naive")


@rung("normalize", 2)
def normalize_v2_block(x, axes, eps):
    return _normalize(x, axes, eps, _one_block_each, kernel="normalize_v2_block")


@rung("normalize", 3, fits=_of_x(_packs))
def normalize_v3_packs(x, axes, eps):
    return _normalize(x, axes, eps, _one_block_each, kernel="normalize_v3_packs", pack=True)


@rung("normalize", 4, fits=_of_x(_split))
def normalize_v4_split(x, axes, eps):
    kernels = {"first": "normalize_moments", "kernel": "normalize_v4_split"}
    return _normalize(x, axes, eps, _in_parts, **kernels)


@rung("normalize", 5, fits=_of_x(_columns))
def normalize_v5_columns(x, axes, eps):
    kernels = {"first": "normalize_column_moments", "kernel": "normalize_v5_columns"}
    return _normalize(x, axes, eps, _in_parts, statistics=COLUMNS, **kernels)


@rung("normalize_adjoint", 1)
def normalize_adjoint_v1_naive(grad, y, inverse, axes):
    how = {"launching": _one_thread_each, "kernel": "normalize_adjoint_v1_naive"}
    return _normalize_adjoint(grad, y, inverse, axes, **how)


@rung("normalize_adjoint", 2)
def normalize_adjoint_v2_block(grad, y, inverse, axes):
    how = {"launching": _one_block_each, "kernel": "normalize_adjoint_v2_block"}
    return _normalize_adjoint(grad, y, inverse, axes, **how)


@rung("normalize_adjoint", 3, fits=_of_grad(_packs))
def normalize_adjoint_v3_packs(grad, y, inverse, axes):
    how = {"launching": _one_block_each, "kernel": "normalize_adjoint_v3_packs", "pack": True}
    return _normalize_adjoint(grad, y, inverse, axes, **how)


@rung("normalize_adjoint", 4, fits=_of_grad(_split))
def normalize_adjoint_v4_split(grad, y, inverse, axes):
    kernels = {"first": "normalize_adjoint_sums", "kernel": "normalize_adjoint_v4_split"}
    return _normalize_adjoint(grad, y, inverse, axes, _in_parts, **kernels)


@rung("normalize_adjoint", 5, fits=_of_grad(_columns))
def normalize_adjoint_v5_columns(grad, y, inverse, axes):
    kernels = {"first": "normalize_adjoint_column_sums", "kernel": "normalize_adjoint_v5_columns"}
    return _normalize_adjoint(grad, y, inverse, axes, _in_parts, statistics=COLUMNS, **kernels)
