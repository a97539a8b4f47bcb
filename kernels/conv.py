"""Launches conv.cu: the three corners of convolution, each a ladder of kernels.

The names, arguments and results are those of ``minidl.compute.reference.conv``. Kernels from the
second rung on want channels last in memory, and leave their results so.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt, prod

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.windows import Windows
from minidl.cuda import gpu
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import launch, launch_each
from minidl.cuda.prepare import ceil_div, empty_nhwc
from minidl.cuda.source import constants, folder, source_of
from minidl.kernels import conv_packs, winograd
from minidl.kernels.slices import slices_of

Tile = tuple[int, int, int]
"""A block's tile of results: rows, columns, and columns where that is all there are."""

SOURCE = source_of(folder() / "conv.cu")
NUMBERS = constants(SOURCE)
"""The numbers that the kernels and their launches share: each stands in conv.cu alone."""

THREADS = NUMBERS["THREADS"]
"""Threads of a block."""

SIDE = isqrt(THREADS)
SQUARE: Tile = (SIDE, SIDE, SIDE)
"""The tile of v4, in which each thread computes one result."""

LARGE: Tile = (NUMBERS["ROWS"], NUMBERS["WIDE"], NUMBERS["NARROW"])
"""The tile of v5 and of the rungs above."""

SHORTEST = 512
"""The fewest steps of the sum that a slice of corner w has."""

# Which rung fits: the reason why not, or nothing.

DEPTHWISE = "one channel a group makes a tile one column wide"

WhyNot = Callable[..., str]


def _shared_y(x: Array, w: Array, windows: Windows, groups: int = 1) -> str:
    return DEPTHWISE if w.shape[0] == groups > 1 else ""


def _shared_x(w: Array, y: Array, windows: Windows, groups: int = 1) -> str:
    return DEPTHWISE if w.shape[1] == 1 < groups else ""


def _shared_w(x: Array, y: Array, windows: Windows, groups: int = 1) -> str:
    return ""


def _packs_y(x: Array, w: Array, windows: Windows, groups: int = 1) -> str:
    return _shared_y(x, w, windows, groups) or _packs(x, w.shape[1])


def _packs_x(w: Array, y: Array, windows: Windows, groups: int = 1) -> str:
    return _shared_x(w, y, windows, groups) or _packs(y, w.shape[1], y.shape[1] // groups)


def _packs_w(x: Array, y: Array, windows: Windows, groups: int = 1) -> str:
    return _packs(x, x.shape[1] // groups, y.shape[1] // groups)


def _packs(array: Array, *channels: int) -> str:
    pack = constants(SOURCE, array.dtype)["PACK"]
    whole = all(c % pack == 0 for c in channels)
    return "" if whole else f"channels per group must be multiples of {pack}"


def _tensor(fits: WhyNot) -> WhyNot:
    """Ask whether tensor cores fit as well."""

    def both(a: Array, b: Array, windows: Windows, groups: int = 1) -> str:
        if a.dtype.itemsize != 4:
            return "tensor cores multiply float32 only"
        if not isinstance(a, np.ndarray) and gpu.capability(a) < 80:
            return "the GPU is older than sm_80: no TF32"
        return fits(a, b, windows, groups)

    return both


# Launching. The grid is flat: tiles, groups, and the parts that a corner is split into.


def _tiles(rows: int, columns: int, tile: Tile) -> int:
    """The number of tiles that cover a matrix of results."""
    down, wide, narrow = tile
    return ceil_div(rows, down) * ceil_div(columns, narrow if columns <= narrow else wide)


def _corner_y(
    kernel: str, x: Array, w: Array, windows: Windows, groups: int = 1, tile: Tile | None = None
) -> Array:
    xp, (n, c), o = xp_of(x), x.shape[:2], w.shape[0]
    shape, pixels = (n, o, *windows.output), n * prod(windows.output)
    if 0 in (*x.shape, *w.shape, *shape):
        return xp.zeros(shape, x.dtype)
    y = empty_nhwc(xp, shape, x.dtype) if tile else xp.empty(shape, x.dtype)
    blocks = groups * _tiles(pixels, o // groups, tile) if tile else ceil_div(y.size, THREADS)
    launch(kernel, blocks, THREADS, x=x, w=w, y=y, windows=windows, N=n, C=c, O=o, groups=groups)
    return y


def _corner_x(
    kernel: str, w: Array, y: Array, windows: Windows, groups: int = 1, tile: Tile | None = None
) -> Array:
    xp, (n, o), c = xp_of(y), y.shape[:2], w.shape[1] * groups
    shape, sides = (n, c, *windows.image), [*zip(windows.image, windows.stride, strict=True)]
    if 0 in (*w.shape, *y.shape, *shape):
        return xp.zeros(shape, y.dtype)
    x = empty_nhwc(xp, shape, y.dtype) if tile else xp.empty(shape, y.dtype)
    phases = groups * prod(min(size, stride) for size, stride in sides)
    pixels = n * prod(ceil_div(size, stride) for size, stride in sides)  # of the largest phase
    blocks = phases * _tiles(pixels, c // groups, tile) if tile else ceil_div(x.size, THREADS)
    launch(kernel, blocks, THREADS, w=w, y=y, x=x, windows=windows, N=n, C=c, O=o, groups=groups)
    return x


def _corner_w(
    kernel: str, x: Array, y: Array, windows: Windows, groups: int = 1, tile: Tile | None = None
) -> Array:
    xp, (n, c), o = xp_of(x), x.shape[:2], y.shape[1]
    shape, taps = (o, c // groups, *windows.kernel), prod(windows.kernel)
    if 0 in (*x.shape, *y.shape, *shape):
        return xp.zeros(shape, x.dtype)
    w = xp.empty(shape, x.dtype)
    sizes = {"windows": windows, "N": n, "C": c, "O": o, "groups": groups}
    if not tile:
        launch_each(kernel, w.size, x=x, y=y, w=w, **sizes)
        return w
    tiles = groups * _tiles(taps * c // groups, o // groups, tile)
    # Slices are whole tiles deep, so that packs never cross their ends.
    slices, steps = slices_of(n * prod(windows.output), tiles, SHORTEST, NUMBERS["DEPTH"])
    partial = xp.empty((slices, w.size), x.dtype)
    sizes |= {"slices": slices, "slice": steps}
    launch(kernel, tiles * slices, THREADS, x=x, y=y, partial=partial, **sizes)
    sizes = {"slices": slices, "O": o, "C": c // groups, "taps": taps}
    launch_each("conv2d_w_add_slices", w.size, partial=partial, w=w, **sizes)
    return w


# The ladders: one table for the three corners, as conv.cu writes each rung once for all of them.


def _ladder(corner: str, launch: Callable[..., Array], shared: WhyNot, packed: WhyNot) -> Ladder:
    by_packs = getattr(conv_packs, f"corner_{corner}")
    by_winograd = getattr(winograd, f"corner_{corner}")
    saves = getattr(winograd, f"fits_{corner}")
    return Ladder(f"conv2d_{corner}", [
        Rung("naive", launch),
        Rung("packs", by_packs, fits=conv_packs.fits, native=True),
        Rung("winograd", by_winograd, fits=saves, native=True),
        Rung("shared_tile", launch, tile=SQUARE, fits=shared),
        Rung("register_tile", launch, tile=LARGE, fits=shared),
        Rung("vectorised", launch, tile=LARGE, fits=packed),
        Rung("tf32", launch, tile=LARGE, fits=_tensor(shared), optional=True, slow_emulated=True),
        Rung("tf32x3", launch, tile=LARGE, fits=_tensor(shared), slow_emulated=True),
        Rung("tf32x3_async", launch, tile=LARGE, fits=_tensor(packed), slow_emulated=True),
    ])


CONV2D_Y = _ladder("y", _corner_y, _shared_y, _packs_y)
CONV2D_X = _ladder("x", _corner_x, _shared_x, _packs_x)
CONV2D_W = _ladder("w", _corner_w, _shared_w, _packs_w)


def conv2d_y(x: Array, w: Array, windows: Windows, groups: int = 1) -> Array:
    """Convolve: (N, C, H, W) * (O, C / groups, K, L) -> (N, O, I, J)."""
    return CONV2D_Y.climb(x, w, windows=windows, groups=groups)


def conv2d_x(w: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Convolve, transposed: (O, C / groups, K, L) * (N, O, I, J) -> (N, C, H, W)."""
    return CONV2D_X.climb(w, y, windows=windows, groups=groups)


def conv2d_w(x: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Sum the weights' gradient: (N, C, H, W) * (N, O, I, J) -> (O, C / groups, K, L)."""
    return CONV2D_W.climb(x, y, windows=windows, groups=groups)
