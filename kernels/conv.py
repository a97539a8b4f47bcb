"""Launches conv.cu: the three corners of convolution, each a ladder of kernels.

The names, arguments and results are those of ``minidl.compute.reference.conv``. Arrays are
channels last in memory from the second rung on, as ``arranged`` lays them out.
"""

from __future__ import annotations

from math import prod

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.windows import Windows
from minidl.cuda import gpu
from minidl.cuda.ladder import climb, rung
from minidl.cuda.launch import launch
from minidl.cuda.prepare import empty_nhwc

THREADS = 256
"""Of a block; as all sizes here, the same number as in conv.cu."""

DEPTH = 16
"""Steps of the sum that a block loads at a time."""

SMALL, LARGE = (16, 16, 16), (128, 64, 16)
"""Tiles of results, of v2 and of the rungs above: rows, columns, columns where that is all."""

BLOCKS = 528
"""Blocks that corner w is cut into, about: four for each multiprocessor of a large GPU. A
constant, so that the sums, and so the results, do not depend on the GPU."""

SHORTEST = 512
"""Steps of the sum that a slice of corner w has at least."""


def conv2d_y(x: Array, w: Array, windows: Windows, groups: int = 1) -> Array:
    """(N, C, H, W) * (O, C / groups, K, L) -> (N, O, I, J)."""
    return climb("conv2d_y", x, w, windows=windows, groups=groups)


def conv2d_x(w: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """(O, C / groups, K, L) * (N, O, I, J) -> (N, C, H, W)."""
    return climb("conv2d_x", w, y, windows=windows, groups=groups)


def conv2d_w(x: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """(N, C, H, W) * (N, O, I, J) -> (O, C / groups, K, L)."""
    return climb("conv2d_w", x, y, windows=windows, groups=groups)


# Which rung fits: the reason why not, or nothing.

DEPTHWISE = "one channel a group makes a tile one column wide"


def _shared_y(x, w, windows, groups=1):
    return DEPTHWISE if w.shape[0] == groups > 1 else ""


def _shared_x(w, y, windows, groups=1):
    return DEPTHWISE if w.shape[1] == 1 < groups else ""


def _shared_w(x, y, windows, groups=1):
    return ""


def _packs(*channels, dtype):
    pack = 16 // dtype.itemsize
    whole = all(c % pack == 0 for c in channels)
    return "" if whole else f"channels per group must be multiples of {pack}"


def _packs_y(x, w, windows, groups=1):
    return _shared_y(x, w, windows, groups) or _packs(w.shape[1], dtype=x.dtype)


def _packs_x(w, y, windows, groups=1):
    both = w.shape[1], y.shape[1] // groups
    return _shared_x(w, y, windows, groups) or _packs(*both, dtype=y.dtype)


def _packs_w(x, y, windows, groups=1):
    return _packs(x.shape[1] // groups, y.shape[1] // groups, dtype=x.dtype)


def _tensor(fits):
    """Whether tensor cores fit as well."""

    def both(a, b, windows, groups=1):
        if a.dtype.itemsize != 4:
            return "tensor cores multiply float32 only"
        if not isinstance(a, np.ndarray) and gpu.capability(a) < 80:
            return "the GPU is older than sm_80: no TF32"
        return fits(a, b, windows, groups)

    return both


# Launching. The grid is flat: tiles, groups, and the parts that a corner is split into.


def _tiles(rows: int, columns: int, tile: tuple[int, int, int]) -> int:
    down, wide, narrow = tile
    return -(-rows // down) * -(-columns // (narrow if columns <= narrow else wide))


def _corner_y(kernel, x, w, windows, groups, tile=None):
    (n, c), o = x.shape[:2], w.shape[0]
    shape, size = (n, o, *windows.output), n * prod(windows.output)
    if 0 in (*x.shape, *w.shape, *shape):
        return xp_of(x).zeros(shape, x.dtype)
    y = empty_nhwc(xp_of(x), shape, x.dtype) if tile else xp_of(x).empty(shape, x.dtype)
    blocks = groups * _tiles(size, o // groups, tile) if tile else -(-y.size // THREADS)
    launch(kernel, blocks, THREADS, x=x, w=w, y=y, windows=windows, N=n, C=c, O=o, groups=groups)
    return y


def _corner_x(kernel, w, y, windows, groups, tile=None):
    n, o, c = *y.shape[:2], w.shape[1] * groups
    shape = (n, c, *windows.image)
    if 0 in (*w.shape, *y.shape, *shape):
        return xp_of(y).zeros(shape, y.dtype)
    x = empty_nhwc(xp_of(y), shape, y.dtype) if tile else xp_of(y).empty(shape, y.dtype)
    if tile:
        sides = [*zip(windows.image, windows.stride, strict=True)]
        phases = prod(min(size, stride) for size, stride in sides)
        pixels = n * prod(-(-size // stride) for size, stride in sides)  # of the largest phase
        blocks = phases * groups * _tiles(pixels, c // groups, tile)
    else:
        blocks = -(-x.size // THREADS)
    launch(kernel, blocks, THREADS, w=w, y=y, x=x, windows=windows, N=n, C=c, O=o, groups=groups)
    return x


def _corner_w(kernel, x, y, windows, groups, tile=None):
    xp, (n, c), o = xp_of(x), x.shape[:2], y.shape[1]
    shape, taps = (o, c // groups, *windows.kernel), prod(windows.kernel)
    if 0 in (*x.shape, *y.shape, *shape):
        return xp.zeros(shape, x.dtype)
    w = xp.empty(shape, x.dtype)
    sizes = {"windows": windows, "N": n, "C": c, "O": o, "groups": groups}
    if not tile:
        launch(kernel, -(-w.size // THREADS), THREADS, x=x, y=y, w=w, **sizes)
        return w
    tiles = groups * _tiles(taps * c // groups, o // groups, tile)
    pixels = n * prod(windows.output)
    wanted = max(min(BLOCKS // tiles, pixels // SHORTEST), 1)
    slice_ = -(-pixels // wanted // DEPTH) * DEPTH  # whole tiles, so that packs never cross its end
    slices = -(-pixels // slice_)
    partial = xp.empty((slices, w.size), x.dtype)
    sizes |= {"slices": slices, "slice": slice_}
    launch(kernel, tiles * slices, THREADS, x=x, y=y, partial=partial, **sizes)
    launch(
        "conv2d_w_add_slices",
        -(-w.size // THREADS),
        THREADS,
        **{"partial": partial, "w": w, "slices": slices, "O": o, "C": c // groups, "taps": taps},
    )
    return w


# The rungs.


@rung("conv2d_y", 1)
def conv2d_y_v1_naive(x, w, windows, groups=1):
    return _corner_y("conv2d_y_v1_naive", x, w, windows, groups)


@rung("conv2d_y", 2, fits=_shared_y)
def conv2d_y_v2_shared_tile(x, w, windows, groups=1):
    return _corner_y("conv2d_y_v2_shared_tile", x, w, windows, groups, SMALL)


@rung("conv2d_y", 3, fits=_shared_y)
def conv2d_y_v3_register_tile(x, w, windows, groups=1):
    return _corner_y("conv2d_y_v3_register_tile", x, w, windows, groups, LARGE)


@rung("conv2d_y", 4, fits=_packs_y)
def conv2d_y_v4_vectorised(x, w, windows, groups=1):
    return _corner_y("conv2d_y_v4_vectorised", x, w, windows, groups, LARGE)


@rung("conv2d_y", 5, fits=_tensor(_shared_y), optional=True, slow_emulated=True)
def conv2d_y_v5_tf32(x, w, windows, groups=1):
    return _corner_y("conv2d_y_v5_tf32", x, w, windows, groups, LARGE)


@rung("conv2d_y", 6, fits=_tensor(_shared_y), slow_emulated=True)
def conv2d_y_v6_tf32x3(x, w, windows, groups=1):
    return _corner_y("conv2d_y_v6_tf32x3", x, w, windows, groups, LARGE)


@rung("conv2d_y", 7, fits=_tensor(_packs_y), slow_emulated=True)
def conv2d_y_v7_tf32x3_async(x, w, windows, groups=1):
    return _corner_y("conv2d_y_v7_tf32x3_async", x, w, windows, groups, LARGE)


@rung("conv2d_x", 1)
def conv2d_x_v1_naive(w, y, windows, groups=1):
    return _corner_x("conv2d_x_v1_naive", w, y, windows, groups)


@rung("conv2d_x", 2, fits=_shared_x)
def conv2d_x_v2_shared_tile(w, y, windows, groups=1):
    return _corner_x("conv2d_x_v2_shared_tile", w, y, windows, groups, SMALL)


@rung("conv2d_x", 3, fits=_shared_x)
def conv2d_x_v3_register_tile(w, y, windows, groups=1):
    return _corner_x("conv2d_x_v3_register_tile", w, y, windows, groups, LARGE)


@rung("conv2d_x", 4, fits=_packs_x)
def conv2d_x_v4_vectorised(w, y, windows, groups=1):
    return _corner_x("conv2d_x_v4_vectorised", w, y, windows, groups, LARGE)


@rung("conv2d_x", 5, fits=_tensor(_shared_x), optional=True, slow_emulated=True)
def conv2d_x_v5_tf32(w, y, windows, groups=1):
    return _corner_x("conv2d_x_v5_tf32", w, y, windows, groups, LARGE)


@rung("conv2d_x", 6, fits=_tensor(_shared_x), slow_emulated=True)
def conv2d_x_v6_tf32x3(w, y, windows, groups=1):
    return _corner_x("conv2d_x_v6_tf32x3", w, y, windows, groups, LARGE)


@rung("conv2d_x", 7, fits=_tensor(_packs_x), slow_emulated=True)
def conv2d_x_v7_tf32x3_async(w, y, windows, groups=1):
    return _corner_x("conv2d_x_v7_tf32x3_async", w, y, windows, groups, LARGE)


@rung("conv2d_w", 1)
def conv2d_w_v1_naive(x, y, windows, groups=1):
    return _corner_w("conv2d_w_v1_naive", x, y, windows, groups)


@rung("conv2d_w", 2, fits=_shared_w)
def conv2d_w_v2_shared_tile(x, y, windows, groups=1):
    return _corner_w("conv2d_w_v2_shared_tile", x, y, windows, groups, SMALL)


@rung("conv2d_w", 3, fits=_shared_w)
def conv2d_w_v3_register_tile(x, y, windows, groups=1):
    return _corner_w("conv2d_w_v3_register_tile", x, y, windows, groups, LARGE)


@rung("conv2d_w", 4, fits=_packs_w)
def conv2d_w_v4_vectorised(x, y, windows, groups=1):
    return _corner_w("conv2d_w_v4_vectorised", x, y, windows, groups, LARGE)


@rung("conv2d_w", 5, fits=_tensor(_shared_w), optional=True, slow_emulated=True)
def conv2d_w_v5_tf32(x, y, windows, groups=1):
    return _corner_w("conv2d_w_v5_tf32", x, y, windows, groups, LARGE)


@rung("conv2d_w", 6, fits=_tensor(_shared_w), slow_emulated=True)
def conv2d_w_v6_tf32x3(x, y, windows, groups=1):
    return _corner_w("conv2d_w_v6_tf32x3", x, y, windows, groups, LARGE)


@rung("conv2d_w", 7, fits=_tensor(_packs_w), slow_emulated=True)
def conv2d_w_v7_tf32x3_async(x, y, windows, groups=1):
    return _corner_w("conv2d_w_v7_tf32x3_async", x, y, windows, groups, LARGE)
