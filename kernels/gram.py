"""Launches gram.cu: the three corners of the Gram matrix's form, each a ladder of kernels.

The names, arguments and results are those of ``minidl.compute.reference.gram``.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import climb, rung
from minidl.cuda.launch import launch

THREADS = 256
"""Of a block; as all sizes here, the same number as in gram.cu."""

DEPTH = 16
"""Steps of the sum that a block loads at a time."""

SMALL, LARGE = 16, 64
"""Rows, and columns, of the tile of results that a block computes: shared, and in registers."""

BLOCKS = 528
"""Blocks that corner y is cut into, about: four for each multiprocessor of a large GPU. A
constant, so that the sums, and so the results, do not depend on the GPU."""

SHORTEST = 256
"""Pixels that a slice of the sum has at least."""


def gram_y(a: Array, b: Array) -> Array:
    """(N, I, P) * (N, J, P) -> (N, I, J)."""
    return climb("gram_y", a, b)


def gram_a(b: Array, y: Array) -> Array:
    """(N, J, P) * (N, I, J) -> (N, I, P)."""
    return climb("gram_a", b, y)


def gram_b(a: Array, y: Array) -> Array:
    """(N, I, P) * (N, I, J) -> (N, J, P)."""
    return climb("gram_b", a, y)


def _many(a, b):
    few = a.shape[1] <= SMALL and b.shape[1] <= SMALL
    return f"up to {SMALL} channels leave most of a tile of {LARGE} empty" if few else ""


# Launching. The grid is flat: tiles, images, and the slices that corner y is cut into.


def _tiles(rows: int, columns: int, side: int) -> int:
    return -(-rows // side) * -(-columns // side)


def _corner_y(kernel, a, b, side=None):
    xp, (n, i, p), j = xp_of(a), a.shape, b.shape[1]
    if 0 in (n, i, j, p):
        return xp.zeros((n, i, j), a.dtype)
    y = xp.empty((n, i, j), a.dtype)
    blocks = n * _tiles(i, j, side) if side else -(-y.size // THREADS)
    launch(kernel, blocks, THREADS, a=a, b=b, y=y, N=n, I=i, J=j, P=p)
    return y


def _sliced_y(kernel, a, b, side):
    xp, (n, i, p), j = xp_of(a), a.shape, b.shape[1]
    if 0 in (n, i, j, p):
        return xp.zeros((n, i, j), a.dtype)
    tiles = n * _tiles(i, j, side)
    wanted = max(min(BLOCKS // tiles, p // SHORTEST), 1)
    slice_ = -(-p // wanted // DEPTH) * DEPTH
    slices = -(-p // slice_)
    partial = xp.empty((slices, n, i, j), a.dtype)
    sizes = {"N": n, "I": i, "J": j, "P": p, "slices": slices, "slice": slice_}
    launch(kernel, tiles * slices, THREADS, a=a, b=b, partial=partial, **sizes)
    if slices == 1:
        return partial[0]
    y = xp.empty((n, i, j), a.dtype)
    blocks = -(-y.size // THREADS)
    sizes = {"slices": slices, "size": y.size}
    launch("gram_y_add_slices", blocks, THREADS, partial=partial, y=y, **sizes)
    return y


def _corner_a(kernel, b, y, side=None):
    xp, (n, j, p), i = xp_of(b), b.shape, y.shape[1]
    if 0 in (n, i, j, p):
        return xp.zeros((n, i, p), b.dtype)
    a = xp.empty((n, i, p), b.dtype)
    blocks = n * _tiles(i, p, side) if side else -(-a.size // THREADS)
    launch(kernel, blocks, THREADS, b=b, y=y, a=a, N=n, I=i, J=j, P=p)
    return a


def _corner_b(kernel, a, y, side=None):
    xp, (n, i, p), j = xp_of(a), a.shape, y.shape[2]
    if 0 in (n, i, j, p):
        return xp.zeros((n, j, p), a.dtype)
    b = xp.empty((n, j, p), a.dtype)
    blocks = n * _tiles(j, p, side) if side else -(-b.size // THREADS)
    launch(kernel, blocks, THREADS, a=a, y=y, b=b, N=n, I=i, J=j, P=p)
    return b


# The rungs.


@rung("gram_y", 1)
def gram_y_v1_naive(a, b):
    return _corner_y("gram_y_v1_naive", a, b)


@rung("gram_y", 2)
def gram_y_v2_shared_tile(a, b):
    return _corner_y("gram_y_v2_shared_tile", a, b, SMALL)


@rung("gram_y", 3)
def gram_y_v3_slices(a, b):
    return _sliced_y("gram_y_v3_slices", a, b, SMALL)


@rung("gram_y", 4, fits=_many)
def gram_y_v4_register_tile(a, b):
    return _sliced_y("gram_y_v4_register_tile", a, b, LARGE)


@rung("gram_a", 1)
def gram_a_v1_naive(b, y):
    return _corner_a("gram_a_v1_naive", b, y)


@rung("gram_a", 2)
def gram_a_v2_shared_tile(b, y):
    return _corner_a("gram_a_v2_shared_tile", b, y, SMALL)


@rung("gram_a", 3)
def gram_a_v3_register_tile(b, y):
    return _corner_a("gram_a_v3_register_tile", b, y, LARGE)


@rung("gram_b", 1)
def gram_b_v1_naive(a, y):
    return _corner_b("gram_b_v1_naive", a, y)


@rung("gram_b", 2)
def gram_b_v2_shared_tile(a, y):
    return _corner_b("gram_b_v2_shared_tile", a, y, SMALL)


@rung("gram_b", 3)
def gram_b_v3_register_tile(a, y):
    return _corner_b("gram_b_v3_register_tile", a, y, LARGE)
