"""Pooling on a CPU, one image a task, in whichever layout the image has.

A place h * W + w is turned into an offset within the image's own memory, so
that picking and putting are single reads and writes of a flat array.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from minidl.compute import threads
from minidl.compute.arrays import Array
from minidl.compute.fast.axis import axes_of
from minidl.compute.layout import is_channels_last
from minidl.compute.reference import pool as reference
from minidl.compute.windows import Windows

WORTH_THREADS = 100_000
"""Elements of an array from which threads bring more than they cost."""

Index = tuple[Any, ...]

BLOCK = 2**15
"""Windows of the images that are compared together, if these are small."""


def max_pool2d(x: Array, windows: Windows) -> tuple[Array, Array]:
    """Find the largest pixel under each window and its place, (N, C, H, W) -> (N, C, I, J) twice.

    Taps are compared from the last to the first, each for the windows where it lies inside the
    image, so that of equal pixels the first one stays. The winner's number takes a byte, and
    becomes a place only at the end.
    """
    taps, last = math.prod(windows.kernel), is_channels_last(x)
    if taps > 255 or not x.size or x.dtype.kind not in "fiu":
        return reference.max_pool2d(x, windows)
    memory = x.transpose(0, 2, 3, 1) if last else x
    meetings, (offset, corner) = _meetings(windows, last), _places(windows)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    (n, c), (i, j) = x.shape[:2], windows.output
    index = np.empty((n, i, j, c) if last else (n, c, i, j), np.int64)
    y = np.full(index.shape, lowest, x.dtype)

    def find(images: slice) -> None:
        best = y[images]
        code = np.zeros(best.shape, np.uint8)
        for number, under, inside in meetings:
            pixels, so_far = memory[images][under], best[inside]
            won = (pixels >= so_far).view(np.uint8)
            won *= number
            np.maximum(code[inside], won, out=code[inside])
            np.maximum(so_far, pixels, out=so_far)
        if code.all() and not np.isnan(best.max()):
            np.add(offset.take(code), corner[..., None] if last else corner, out=index[images])
        else:  # a window lies beside the image, or a NaN, which no comparison finds
            exact = reference.max_pool2d(x[images], windows)
            best[...], index[images] = (e.transpose(0, 2, 3, 1) if last else e for e in exact)

    together = max(BLOCK // (i * j * c), 1)
    blocks = [slice(a, a + together) for a in range(0, n, together)]
    threads.each(find, blocks, alone=x.size < WORTH_THREADS)
    return (y.transpose(0, 3, 1, 2), index.transpose(0, 3, 1, 2)) if last else (y, index)


def _meetings(windows: Windows, last: bool) -> list[tuple[int, Index, Index]]:
    """List the taps from the last to the first: a number, the pixels under it, whose windows."""
    channels = (slice(None),) if last else ()
    rows, columns = (
        [(axis.at(m, inside), inside) for m in reversed(range(windows.kernel[a]))
         for inside in [axis.inside(m, windows.image[a], windows.output[a])]]
        for a, axis in enumerate(axes_of(windows))
    )
    numbered = enumerate(itertools.product(rows, columns), 1)
    return [
        (number, (..., row[0], column[0], *channels), (..., row[1], column[1], *channels))
        for number, (row, column) in numbered
        if row[1].start < row[1].stop and column[1].start < column[1].stop
    ]


def _places(windows: Windows) -> tuple[Array, Array]:
    """The offsets h W + w of taps, numbered as they are compared, and of the windows, (I, J)."""
    width = windows.image[1]
    (k, l), (i, j) = windows.kernel, windows.output
    down, across = axes_of(windows)
    taps = (np.arange(k)[:, None] * down.dilation * width + np.arange(l) * across.dilation).ravel()
    corner = (down.start + np.arange(i)[:, None] * down.stride) * width
    return np.append(0, taps[::-1]), corner + across.start + np.arange(j) * across.stride


def pick_windows(x: Array, index: Array) -> Array:
    """Read x at ``index``, (N, C, H, W) -> (N, C, I, J), in the memory layout of ``index``."""
    last = is_channels_last(x)
    memory = x.transpose(0, 2, 3, 1) if last else np.ascontiguousarray(x)
    y = np.empty_like(index, x.dtype)

    def pick(n: int) -> None:
        y[n] = memory[n].reshape(-1).take(_offsets(index[n], x.shape, last))

    threads.each(pick, range(len(x)), alone=index.size < WORTH_THREADS)
    return y


def put_windows(y: Array, index: Array, size: tuple[int, int]) -> Array:
    """Put y at ``index``, (N, C, I, J) -> (N, C, H, W), in the memory layout of ``index``."""
    n, c = y.shape[:2]
    last = is_channels_last(index)
    x = np.zeros((n, *size, c) if last else (n, c, *size), y.dtype)
    shape = (n, c, *size)

    def put(n: int) -> None:
        flat = _offsets(index[n], shape, last)
        values = y[n]
        if last:  # in the order of memory, so that writes stay close together
            flat, values = flat.transpose(1, 2, 0), values.transpose(1, 2, 0)
        sums = np.bincount(flat.reshape(-1), values.reshape(-1), c * size[0] * size[1])
        x[n] = sums.reshape(x.shape[1:])

    threads.each(put, range(n), alone=y.size < WORTH_THREADS)
    return x.transpose(0, 3, 1, 2) if last else x


def _offsets(index: Array, shape: tuple[int, ...], last: bool) -> Array:
    """Turn the places (C, I, J) of one image into offsets in its memory."""
    _, c, h, w = shape
    channel = np.arange(c)[:, None, None]
    return index * c + channel if last else index + channel * (h * w)
