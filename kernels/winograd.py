"""Launches winograd.cu: 3 x 3 convolutions with fewer multiplications."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.compute.layout import channels_last
from minidl.compute.windows import Pair, Windows
from minidl.cuda.launch import lanes_of, launch, launch_each, numbers_of, runs_natively
from minidl.cuda.prepare import FROM_NHWC, ceil_div, empty
from minidl.cuda.source import constants, folder, source_of
from minidl.kernels.conv_packs import turn, widest_of

SOURCE = source_of(folder() / "winograd.cu")

SMALLEST = 64
"""Results of an image from which the transforms are worth it. The batch has no say in it: an
image's results are the same bits in any."""

FEWEST = 16
"""Channels, in and out, from which they are worth it."""

SLICES = 8
"""Partial sums of corner w, at most: a constant, so that the bits do not depend on the cores."""

SHORTEST = 192
"""Tiles of a partial sum, at least."""


def fits_y(x: Array, w: Array, windows: Windows, groups: int = 1) -> str:
    """Tell why corner y is not computed so."""
    return _fits(x, w.shape, windows, groups, windows.output)


def fits_x(w: Array, y: Array, windows: Windows, groups: int = 1) -> str:
    """Tell why corner x is not computed so."""
    return _fits(y, w.shape, windows, groups, windows.image) or (
        "more padding than two pixels" if max(windows.padding) > 2 else ""
    )


def fits_w(x: Array, y: Array, windows: Windows, groups: int = 1) -> str:
    """Tell why corner w is not computed so."""
    shape = (y.shape[1], x.shape[1], *windows.kernel)
    return _fits(x, shape, windows, groups, windows.output)


def _fits(
    array: Array, w: tuple[int, ...], windows: Windows, groups: int, size: tuple[int, int]
) -> str:
    if windows.kernel != (3, 3) or windows.stride != (1, 1) or windows.dilation != (1, 1):
        return "only 3 x 3 windows that step by one"
    if groups > 1:
        return "no groups"
    if size[0] * size[1] < SMALLEST or min(w[:2]) < FEWEST:
        return f"fewer than {SMALLEST} pixels or {FEWEST} channels: not worth it"
    lanes = lanes_of(SOURCE, array)
    return "" if w[0] % lanes == w[1] % lanes == 0 else f"channels must be multiples of {lanes}"


def corner_y(kernel: str, x: Array, w: Array, windows: Windows, groups: int = 1) -> Array:
    """Compute y as ``minidl.kernels.conv2d_y`` does; channels last in memory."""
    xp, (n, c), o = xp_of(x), x.shape[:2], w.shape[0]
    y = empty(xp, (n, *windows.output, o), x.dtype)
    if y.size:
        stored = xp.ascontiguousarray(w.transpose(2, 3, 1, 0))
        u, sizes = _weights(stored, c, o), {"windows": windows, "N": n, "C": c, "O": o}
        _launch(kernel, n, windows.output, o, x=channels_last(x), u=u, y=y, **sizes)
    return y.transpose(FROM_NHWC)


def corner_x(kernel: str, w: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Compute x as ``minidl.kernels.conv2d_x`` does; channels last in memory."""
    xp, (n, o), c = xp_of(y), y.shape[:2], w.shape[1]
    x = empty(xp, (n, *windows.image, c), y.dtype)
    if x.size:
        u, padding = _weights(turn(w, about=True)[0], o, c), Pair(*(2 - p for p in windows.padding))
        back = replace(
            windows, image=windows.output, output=Pair(*windows.image), padding=padding
        )
        sizes = {"windows": back, "N": n, "C": c, "O": o}
        _launch(kernel, n, windows.image, c, u=u, y=channels_last(y), x=x, **sizes)
    return x.transpose(FROM_NHWC)


def corner_w(kernel: str, x: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Compute w as ``minidl.kernels.conv2d_w`` does; (K, L, C, O) in memory."""
    xp, (n, c), o = xp_of(x), x.shape[:2], y.shape[1]
    if not n:
        return xp.zeros((o, c, 3, 3), x.dtype)
    w = empty(xp, (3, 3, c, o), x.dtype)
    lanes, tiles = lanes_of(SOURCE, x), n * _tiles(windows.output)
    wide = widest_of(o // lanes, numbers_of(SOURCE, x))
    slices = max(min(SLICES, tiles // SHORTEST), 1)
    slice_ = ceil_div(tiles, slices)
    partial = empty(xp, (slices, constants(SOURCE)["POINTS"], c, o), x.dtype)
    threads = slices * (c // lanes) * (o // lanes // wide)
    images = {"x": channels_last(x), "y": channels_last(y)}
    sizes = {"windows": windows, "N": n, "C": c, "O": o, "wide": wide, "slices": slices}
    _launch_threads(kernel, threads, x, **images, partial=partial, **sizes, slice=slice_)
    launch_each(
        "winograd_gather", c * o // lanes, partial=partial, w=w, slices=slices, C=c, O=o
    )
    return w.transpose(3, 2, 0, 1)


def _weights(stored: Array, c: int, o: int) -> Array:
    """U of weights (3, 3, C, O), in the blocks that a thread takes."""
    lanes = lanes_of(SOURCE, stored)
    wide = widest_of(o // lanes, numbers_of(SOURCE, stored))
    u = empty(xp_of(stored), (constants(SOURCE)["POINTS"], c, o), stored.dtype)
    launch_each("winograd_weights", c * o // lanes, w=stored, u=u, C=c, O=o, wide=wide)
    return u


def _launch(kernel: str, n: int, size: tuple[int, int], o: int, **arguments: Any) -> None:
    array = arguments["u"]
    numbers = numbers_of(SOURCE, array)
    packs = o // numbers["LANES"]
    wide = widest_of(packs, numbers)
    threads = ceil_div(n * _tiles(size), numbers["TILES"]) * (packs // wide)
    _launch_threads(kernel, threads, array, **arguments, wide=wide)


def _launch_threads(kernel: str, threads: int, array: Array, **arguments: Any) -> None:
    block = 1 if runs_natively(array) else 32
    launch(kernel, ceil_div(threads, block), block, **arguments)


def _tiles(size: tuple[int, int]) -> int:
    return ceil_div(size[0], 2) * ceil_div(size[1], 2)
