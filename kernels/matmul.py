"""Launches matmul.cu and matmul_packs.cu: the three corners of a matrix product, two rungs each.

The names, arguments and results are those of ``minidl.compute.reference.matmul``. On a GPU neither
rung is used unless it is asked for: ``minidl.functional`` multiplies by cuBLAS there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import launch, launch_each
from minidl.cuda.prepare import empty
from minidl.cuda.source import folder, source_of
from minidl.kernels.elementwise import as_written
from minidl.kernels.product import as_stored, shares

PACKS = source_of(folder() / "matmul_packs.cu")


def _as_many(first: Array, second: Array) -> str:
    alike = first.shape[:-2] == second.shape[:-2]
    return "" if alike else "some matrices would have to be repeated"


# Launching: a corner says which sizes a result has; how it is computed is the rung's business.

Sizes = Mapping[str, int]
Multiply = Callable[[str, Mapping[str, Array], str, Sizes], Array]


def _corner_y(kernel: str, x: Array, w: Array, by: Multiply) -> Array:
    (a, b), c = x.shape[-2:], w.shape[-1]
    return by(kernel, {"x": x, "w": w}, "y", {"A": a, "C": c, "B": b})


def _corner_x(kernel: str, w: Array, y: Array, by: Multiply) -> Array:
    (b, c), a = w.shape[-2:], y.shape[-2]
    return by(kernel, {"w": w, "y": y}, "x", {"A": a, "B": b, "C": c})


def _corner_w(kernel: str, x: Array, y: Array, by: Multiply) -> Array:
    (a, b), c = x.shape[-2:], y.shape[-1]
    return by(kernel, {"x": x, "y": y}, "w", {"B": b, "C": c, "A": a})


def _naively(kernel: str, given: Mapping[str, Array], name: str, sizes: Sizes) -> Array:
    """A thread for each result, whose rows and columns are the first two sizes."""
    first = next(iter(given.values()))
    xp, (rows, columns, steps) = xp_of(first), sizes.values()
    batch = np.broadcast_shapes(*(array.shape[:-2] for array in given.values()))
    result = empty(xp, (*batch, rows, columns), first.dtype)
    if not result.size or not steps:
        result[...] = 0
        return result
    arrays = {key: as_written(xp.broadcast_to(array, (*batch, *array.shape[-2:])))
              for key, array in given.items()}
    launch_each(kernel, result.size, **arrays, **{name: result}, N=prod(batch), **sizes)
    return result


def _in_packs(kernel: str, given: Mapping[str, Array], name: str, sizes: Sizes) -> Array:
    """A thread for some rows times some packs of columns."""
    first = next(iter(given.values()))
    batch, (rows, columns, steps) = first.shape[:-2], sizes.values()
    result, count = empty(xp_of(first), (*batch, rows, columns), first.dtype), prod(batch)
    if not result.size or not steps:
        result[...] = 0
        return result
    grid, block, *share = shares(PACKS, first, count, rows, columns, steps)
    arrays = {**as_stored(given), name: result}
    launch(kernel, grid, block, **arrays, N=count, **sizes, rows=share[0], packs=share[1])
    return result


# The ladders.


def _ladder(letter: str, corner: Callable[..., Array]) -> Ladder:
    return Ladder(f"matmul_{letter}", [
        Rung("naive", corner, by=_naively),
        Rung("packs", corner, by=_in_packs, fits=_as_many, native=True),
    ])


MATMUL_Y = _ladder("y", _corner_y)
MATMUL_X = _ladder("x", _corner_x)
MATMUL_W = _ladder("w", _corner_w)


def matmul_y(x: Array, w: Array) -> Array:
    """Multiply matrices: (..., A, B) * (..., B, C) -> (..., A, C)."""
    return MATMUL_Y.climb(x, w)


def matmul_x(w: Array, y: Array) -> Array:
    """Multiply by a transposed matrix: (..., B, C) * (..., A, C) -> (..., A, B)."""
    return MATMUL_X.climb(w, y)


def matmul_w(x: Array, y: Array) -> Array:
    """Multiply a transposed matrix: (..., A, B) * (..., A, C) -> (..., B, C)."""
    return MATMUL_W.climb(x, y)
