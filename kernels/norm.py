"""Launches norm.cu: normalising over axes, a scale and a shift, and the derivative: two ladders.

The names, arguments and results are those of ``minidl.compute.reference.norm``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.compute.reference.norm import scale_gradients
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import launch, launch_each
from minidl.cuda.prepare import WARP, ceil_div, largest_block
from minidl.cuda.source import constants, folder, source_of
from minidl.kernels import norm_packs
from minidl.kernels.norm_packs import Turns, turns_of
from minidl.kernels.slices import slices_of

SOURCE = source_of(folder() / "norm.cu")

THREADS = largest_block("normalize_v3_block")
"""The most threads of a block, by the declarations in norm.cu."""

LOADS = 4
"""The number of values or packs that a thread of v3 and v4 loads, about."""

SHORTEST = 8
"""The fewest values that a thread of v5 and v6 has."""

Arguments = dict[str, Any]


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
        """The number of values of one statistic."""
        return self.A * self.P

    def parts(self, statistics: int) -> tuple[int, int]:
        """The blocks that share a statistic, and their values; ``statistics``: those of a block."""
        shortest = SHORTEST * THREADS // statistics
        # Whole packs: four values of float32, twice two of float64.
        return slices_of(self.values, ceil_div(self.B, statistics), shortest, multiple=4)

    def back(self, array: Array) -> Array:
        """Turn an array whose axes are in ``order`` back to its own axes."""
        return array.transpose([self.order.index(axis) for axis in range(array.ndim)])


def view_of(x: Array, axes: tuple[int, ...]) -> View:
    """See an array in the order of its memory, so that channels-last ones are not copied.

    Where that is not of the form (A, B, P), the axes to sum over are moved to the end.
    """
    return _view(x.shape, x.strides, axes)


@lru_cache(maxsize=1024)  # asked by every rung, at every step
def _view(shape: tuple[int, ...], strides: tuple[int, ...], axes: tuple[int, ...]) -> View:
    summed = {axis % len(shape) for axis in axes}
    in_memory = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    moved = sorted(range(len(shape)), key=lambda axis: axis in summed)
    view = _folded(shape, summed, in_memory) or _folded(shape, summed, moved)
    assert view is not None  # once they are moved, the summed axes lie together
    return view


def _folded(shape: tuple[int, ...], summed: set[int], order: Sequence[int]) -> View | None:
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


# Which rung fits: the reason why not, or nothing. ``x`` is the array that statistics are made of.


def _wide(x: Array, *_: Array, axes: tuple[int, ...], **__: Any) -> str:
    pack = constants(SOURCE, x.dtype)["PACK"]
    fits = x.size == 0 or view_of(x, axes).P % pack == 0
    return "" if fits else f"P must be a multiple of {pack}"


def _split(x: Array, *_: Array, axes: tuple[int, ...], **__: Any) -> str:
    fits = x.size == 0 or view_of(x, axes).parts(1)[0] > 1
    return "" if fits else "one block per statistic is enough"


def _columns(x: Array, *_: Array, axes: tuple[int, ...], **__: Any) -> str:
    fits = x.size == 0 or view_of(x, axes).P == 1
    return "" if fits else "neighbouring statistics lie apart, as P > 1"


# Launching. ``read``: the arrays that statistics are made of; ``rest``: what the last kernel adds.


def _thread_each(kernel: str, view: View, read: Arguments, rest: Arguments) -> None:
    launch_each(kernel, view.B, **read, **rest, A=view.A, B=view.B, P=view.P)


def _block_each(kernel: str, view: View, read: Arguments, rest: Arguments, pack: int = 1) -> None:
    """Launch a block for each statistic, of so many whole warps as there are loads for."""
    warps = min(ceil_div(view.values // pack, LOADS * WARP), THREADS // WARP)
    block = WARP << (warps - 1).bit_length()
    launch(kernel, view.B, block, **read, **rest, A=view.A, B=view.B, P=view.P)


def _in_parts(
    kernel: str, view: View, read: Arguments, rest: Arguments, first: str, statistics: int = 1
) -> None:
    """Find the statistics of parts by the kernel ``first``; put them together, and write."""
    parts, length = view.parts(statistics)
    sizes = {"A": view.A, "B": view.B, "parts": parts, "length": length}
    if statistics == 1:
        sizes["P"] = view.P
    array = next(iter(read.values()))
    partial = xp_of(array).empty((2, parts, view.B), array.dtype)
    blocks = parts * ceil_div(view.B, statistics)
    launch(first, blocks, **read, partial=partial, **sizes)
    launch(kernel, blocks, **read, **rest, partial=partial, **sizes)


def _normalize(
    kernel: str, x: Array, weight: Array, bias: Array, axes: tuple[int, ...], eps: float,
    work: Callable[..., None], **how: Any,
) -> tuple[Array, Array, Array]:
    xp, summed = xp_of(x), {axis % x.ndim for axis in axes}
    sizes = [1 if axis in summed else size for axis, size in enumerate(x.shape)]
    if x.size == 0:  # the mean of no values is not a number
        nothing = xp.full(sizes, xp.nan, x.dtype)
        return xp.empty(x.shape, x.dtype), nothing, nothing.copy()
    view = view_of(x, axes)
    y = xp.empty([x.shape[axis] for axis in view.order], x.dtype)
    mean, inverse = (xp.empty([sizes[axis] for axis in view.order], x.dtype) for _ in "mi")
    scales = _scales(view, x, weight=weight, bias=bias)
    rest = {"y": y, "mean": mean, "inverse": inverse, "eps": eps, **scales}
    work(kernel, view, {"x": x.transpose(view.order)}, rest, **how)
    return view.back(y), view.back(mean), view.back(inverse)


def _normalize_adjoint(
    kernel: str, grad: Array, x: Array, mean: Array, inverse: Array, weight: Array,
    axes: tuple[int, ...], work: Callable[..., None], scaled: bool = False, **how: Any,
) -> Array | tuple[Array, Array, Array]:
    view = view_of(grad, axes)
    grad_x = xp_of(grad).empty([x.shape[axis] for axis in view.order], grad.dtype)
    if grad.size:
        given = {"grad": grad, "x": x, "mean": mean, "inverse": inverse}
        read = {name: array.transpose(view.order) for name, array in given.items()}
        read |= _scales(view, x, weight=weight)
        work(kernel, view, read, {"grad_x": grad_x}, **how)
    found = view.back(grad_x)
    return (found, *scale_gradients(grad, x, mean, inverse, weight)) if scaled else found


def _scales(view: View, x: Array, **weights: Array) -> dict[str, Any]:
    """Weights in the order of memory, and how they take turns there (include/affine.cuh)."""
    xp, shape = xp_of(x), next(iter(weights.values())).shape
    turns = turns_of(shape, x.shape, view.order)
    if turns is None:  # one for each element
        weights = {name: xp.broadcast_to(weight, x.shape) for name, weight in weights.items()}
        turns = Turns(1, x.size)
    laid = {name: weight.transpose(view.order) for name, weight in weights.items()}
    return {**laid, "turns": turns}


# The ladders: one table for both ops. The statistics of parts are found by a kernel of their own.


def _ladder(
    op: str, norm: Callable[..., Any], packs: Callable[..., Any], fits: Callable[..., str],
    parts: str, columns: str,
) -> Ladder:
    return Ladder(op, [
        Rung("naive", norm, work=_thread_each),
        Rung("packs", packs, fits=fits, native=True),
        Rung("block", norm, work=_block_each),
        Rung("wide", norm, work=_block_each, pack=4, fits=_wide),
        Rung("split", norm, work=_in_parts, first=parts, fits=_split),
        Rung("columns", norm, work=_in_parts, first=columns, statistics=WARP, fits=_columns),
    ])


NORMALIZE = _ladder(
    "normalize", _normalize, norm_packs.normalize, norm_packs.fits, parts="normalize_moments",
    columns="normalize_column_moments",
)
NORMALIZE_ADJOINT = _ladder(
    "normalize_adjoint", _normalize_adjoint, norm_packs.normalize_adjoint, norm_packs.fits_adjoint,
    parts="normalize_adjoint_sums", columns="normalize_adjoint_column_sums",
)


def normalize(
    x: Array, weight: Array, bias: Array, axes: tuple[int, ...], eps: float
) -> tuple[Array, Array, Array]:
    """Normalise over axes; return y in the shape of x, and mean and s with ``axes`` of size 1."""
    return NORMALIZE.climb(x, weight, bias, axes=axes, eps=eps)


def normalize_adjoint(
    grad: Array, x: Array, mean: Array, inverse: Array, weight: Array, axes: tuple[int, ...],
    scaled: bool = False,
) -> Array | tuple[Array, Array, Array]:
    """Turn the gradient of y into that of x, and if ``scaled`` those of weight and bias."""
    return NORMALIZE_ADJOINT.climb(grad, x, mean, inverse, weight, axes=axes, scaled=scaled)
