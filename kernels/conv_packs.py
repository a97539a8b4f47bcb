"""Launches conv_packs.cu: convolution by packs of channels, natively on a CPU, or on a GPU.

The launchers take what those of ``minidl.kernels.conv`` do, without groups. Weights are wanted as
(K, L, C, O) in memory, as ``minidl.nn`` keeps them: they are copied where they lie otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.layout import channels_last
from minidl.compute.windows import Pair, Windows
from minidl.cuda.launch import lanes_of, launch, launch_each, numbers_of, runs_natively
from minidl.cuda.prepare import FROM_NHWC, ceil_div, empty
from minidl.cuda.source import constants, folder, source_of

SOURCE = source_of(folder() / "conv_packs.cu")
FEW = constants(SOURCE)["FEW"]
"""Channels of a result for which packs lie along the sum, and those that a thread takes then."""

SMALL_MAP, LONG = constants(SOURCE)["SMALL_MAP"], 1024
"""Pixels of an image, at most, and numbers of a sum, at least, for which they do so, too."""

BLOCK = 4
"""Tiles that a thread of the CPU takes at a time."""

SHARES = 8
"""Blocks there should be, so that the CPU's threads end together."""

PART = 400_000
"""Bytes of both images that corner w reads before it begins with the next tap: half a cache."""


def fits(a: Array, b: Array, windows: Windows, groups: int = 1) -> str:
    """Tell why packs cannot compute a corner."""
    return "packs do not know groups" if groups > 1 else ""


class Phases(NamedTuple):
    """The phases of corner x whose pixels are under some tap, and the threads of each."""

    down: int
    across: int
    threads: int


# Launching.


def corner_y(kernel: str, x: Array, w: Array, windows: Windows, groups: int = 1) -> Array:
    """Compute y as ``minidl.kernels.conv2d_y`` does, by packs."""
    xp, (n, c), o, numbers = xp_of(x), x.shape[:2], w.shape[0], numbers_of(SOURCE, x)
    y = empty(xp, (n, *windows.output, o), x.dtype)
    if not x.size or not w.size or not y.size:
        y[...] = 0
        return y.transpose(FROM_NHWC)
    lanes, image, run = numbers["LANES"], channels_last(x), c
    if c < lanes and windows.dilation[1] == 1:
        run = c * windows.kernel[1]
        image, windows = _rows(image, windows)
    sizes = {"windows": windows, "N": n, "C": run, "O": o, "zeros": _zeros(xp, run, x.dtype)}
    if o <= FEW and c % lanes == 0:
        weights = xp.ascontiguousarray(w.transpose(0, 2, 3, 1))
        tiles = _along(y.size // o, o, numbers)
        _launch("conv2d_y_packs_along", tiles, x=image, w=weights, y=y, **sizes)
        return y.transpose(FROM_NHWC)
    weights, line = _padded(xp, w.transpose(2, 3, 1, 0), lanes)
    tiles = _tiles(y.size // o, line, numbers, run)
    _launch(kernel, tiles, x=image, w=weights, y=y, stored=c, line=line, **sizes)
    return y.transpose(FROM_NHWC)


def corner_x(kernel: str, w: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Compute x as ``minidl.kernels.conv2d_x`` does, by packs."""
    xp, (n, o), c, numbers = xp_of(y), y.shape[:2], w.shape[1], numbers_of(SOURCE, y)
    x = empty(xp, (n, *windows.image, c), y.dtype)
    if not w.size or not y.size or not x.size:
        x[...] = 0
        return x.transpose(FROM_NHWC)
    many = prod(windows.image) <= SMALL_MAP and o * prod(windows.kernel) >= LONG
    along = (c <= FEW or many) and o % numbers["LANES"] == 0
    weights, line = (w.transpose(2, 3, 1, 0), 0) if along else turn(w)
    steps = [s // gcd(s, d) for s, d in zip(windows.stride, windows.dilation, strict=True)]
    down, across = map(min, steps, windows.kernel)
    if (down, across) != windows.stride:
        x[...] = 0  # some pixels are under no tap
    pixels = n * prod(map(ceil_div, windows.image, windows.stride))  # of a phase, at most
    arrays = {"w": xp.ascontiguousarray(weights), "y": channels_last(y), "x": x}
    sizes = {"windows": windows, "N": n, "C": c, "O": o, "zeros": _zeros(xp, o, y.dtype)}
    threads = _along(pixels, c, numbers) if along else _tiles(pixels, line, numbers, o)
    sizes["phases"] = Phases(down, across, threads)
    if along:
        _launch("conv2d_x_packs_along", down * across * threads, **arrays, **sizes)
    else:
        _launch(kernel, down * across * threads, line=line, **arrays, **sizes)
    return x.transpose(FROM_NHWC)


def corner_w(kernel: str, x: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Compute w as ``minidl.kernels.conv2d_w`` does, by packs; (K, L, C, O) in memory."""
    xp, (n, c), o, numbers = xp_of(x), x.shape[:2], y.shape[1], numbers_of(SOURCE, x)
    if not x.size or not y.size:
        return xp.zeros((o, c, *windows.kernel), x.dtype)
    lanes, (k, l), rows = numbers["LANES"], windows.kernel, n * windows.output[0]
    image, outputs, ones, turned = channels_last(x), channels_last(y), c, o <= FEW < c
    if c < lanes and windows.dilation[1] == 1 and not turned:
        ones = c * l
        image, windows = _rows(image, windows)
    one, many, one_line = (outputs, image, o) if turned else (image, outputs, c)
    many, line = _padded(xp, many, lanes)
    ones = o if turned else ones
    w = empty(xp, (*windows.kernel, ones, line), x.dtype)
    sizes = {"windows": windows, "ones": ones, "manys": line, "one_line": one_line,
             "many_line": line, "turned": int(turned)}
    tiles = prod(windows.kernel) * _tiles(ones, line, numbers)
    parts = min(max(ceil_div(image.nbytes + many.nbytes, PART), 1), rows)
    for part in range(parts):
        first, last = rows * part // parts, rows * (part + 1) // parts
        _launch(kernel, tiles, one=one, many=many, w=w, first=first, last=last, **sizes)
    if turned:
        return w[..., :c].transpose(2, 3, 0, 1)
    return w[..., :o].reshape(k, l, c, o).transpose(3, 2, 0, 1)


def widest_of(packs: int, numbers: Mapping[str, int]) -> int:
    """The packs that a thread takes, of all there are."""
    widest = numbers["WIDEST"]
    return widest if packs % widest == 0 else 2 if packs % 2 == 0 else 1


def _tiles(pixels: int, line: int, numbers: Mapping[str, int], summed: int = 0) -> int:
    """The threads that share pixels and channels, where so many channels are summed."""
    packs = line // numbers["LANES"]
    wide = widest_of(packs, numbers)
    each = min(numbers["SUMS"] // wide, numbers["TALLEST"])
    if summed >= numbers["DEEP"]:
        each *= numbers["DEEP_TILES"]
    return ceil_div(pixels, each) * (packs // wide)


def _along(pixels: int, results: int, numbers: Mapping[str, int]) -> int:
    """The threads that share pixels and results, where packs lie along the sum."""
    return ceil_div(pixels, numbers["ALONG_PIXELS"]) * ceil_div(results, FEW)


def _launch(kernel: str, tiles: int, **arguments: Any) -> None:
    block = min(BLOCK, ceil_div(tiles, SHARES)) if runs_natively(arguments["w"]) else 64
    launch(kernel, ceil_div(tiles, block), block, **arguments)


# Arrays as the kernels want them.


def turn(w: Array, about: bool = False) -> tuple[Array, int]:
    """The weights (O, C, K, L) as (K, L, O, C) in memory, C in whole packs; how long C is then.

    ``about``: with the taps in reverse order.
    """
    xp, lanes, (o, c) = xp_of(w), lanes_of(SOURCE, w), w.shape[:2]
    stored = w.transpose(2, 3, 1, 0)
    if c % lanes or o % lanes or not stored.flags.c_contiguous:
        taps = w[:, :, ::-1, ::-1] if about else w
        return _padded(xp, taps.transpose(2, 3, 0, 1), lanes)
    turned, taps = empty(xp, (*w.shape[2:], o, c), w.dtype), prod(w.shape[2:])
    sizes = {"taps": taps, "C": c, "O": o, "about": int(about)}
    launch_each("turn_weights", w.size // lanes**2, w=stored, turned=turned, **sizes)
    return turned, c


def _padded(xp: Any, array: Array, lanes: int) -> tuple[Array, int]:
    """The array with zeros behind its last axis, up to whole packs; how long that is then."""
    length = array.shape[-1]
    line = ceil_div(length, lanes) * lanes
    if line == length:
        return xp.ascontiguousarray(array), line
    wide = xp.zeros((*array.shape[:-1], line), array.dtype)
    wide[..., :length] = array
    return wide, line


def _rows(image: Array, windows: Windows) -> tuple[Array, Windows]:
    """Image and windows for few channels: a row of a window's taps is one tap of all its numbers.

    In memory the taps (l, c) of a window's row are neighbours, if the image has its padding.
    """
    rows = _as_rows(windows)
    if rows.image == windows.image:
        return image, rows
    framed = xp_of(image).zeros((len(image), *rows.image, image.shape[3]), image.dtype)
    (top, left), (high, wide) = windows.padding, windows.image
    framed[:, top : top + high, left : left + wide] = image
    return framed, rows


@lru_cache(maxsize=1024)
def _as_rows(windows: Windows) -> Windows:
    kernel = Pair(windows.kernel[0], 1)
    return replace(windows, image=windows.reach, kernel=kernel, padding=Pair(0, 0))


@lru_cache(maxsize=64)
def _zeros(xp: Any, count: int, dtype: np.dtype) -> Array:
    return xp.zeros(count, dtype)
