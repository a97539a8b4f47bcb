"""Pooling on a CPU, one image a task, in whichever layout the image has.

A place h * W + w is turned into an offset within the image's own memory, so
that picking and putting are single reads and writes of a flat array.
"""

from __future__ import annotations

import numpy as np

from minidl.compute import threads
from minidl.compute.arrays import Array
from minidl.compute.reference import pool as reference
from minidl.compute.reference.conv import under_tap
from minidl.compute.windows import Windows

WORTH_THREADS = 100_000
"""Elements of an array from which threads bring more than they cost."""


def max_pool2d_index(x: Array, windows: Windows) -> Array:
    """Find where each window is largest, (N, C, H, W) -> (N, C, I, J) of int64.

    The winning tap's number takes a byte while the taps are compared, and
    becomes a place only at the end.
    """
    taps = windows.kernel[0] * windows.kernel[1]
    inside = windows.reach == windows.image and windows.padding == (0, 0)
    if taps > 255 or not inside or not x.size:
        return reference.max_pool2d_index(x, windows)
    w = windows.image[1]
    (i, j), (step_h, step_w) = windows.output, windows.stride
    corner = np.arange(i)[:, None] * step_h * w + np.arange(j) * step_w
    offset = np.array([
        k * windows.dilation[0] * w + l * windows.dilation[1]
        for k in range(windows.kernel[0]) for l in range(windows.kernel[1])
    ])
    last = _is_channels_last(x)
    index = np.empty((len(x), i, j, x.shape[1]) if last else (*x.shape[:2], i, j), np.int64)

    def find(n: int) -> None:
        best = under_tap(x[n], windows, 0, 0).copy("K")
        code = np.zeros_like(best, np.uint8)
        for tap in range(1, taps):
            pixels = under_tap(x[n], windows, *divmod(tap, windows.kernel[1]))
            # not <=, so that a NaN is larger than any number; the first NaN stays.
            larger = ~(pixels <= best) & (best == best)
            np.copyto(code, tap, where=larger)
            best = np.where(larger, pixels, best)
        place = offset.take(code)
        place += corner
        index[n] = place.transpose(1, 2, 0) if last else place

    threads.each(find, range(len(x)), alone=x.size < WORTH_THREADS)
    return index.transpose(0, 3, 1, 2) if last else index


def pick_windows(x: Array, index: Array) -> Array:
    """Read x at ``index``, (N, C, H, W) -> (N, C, I, J), in the memory layout of ``index``."""
    last = _is_channels_last(x)
    memory = x.transpose(0, 2, 3, 1) if last else np.ascontiguousarray(x)
    y = np.empty_like(index, x.dtype)

    def pick(n: int) -> None:
        y[n] = memory[n].reshape(-1).take(_offsets(index[n], x.shape, last))

    threads.each(pick, range(len(x)), alone=index.size < WORTH_THREADS)
    return y


def put_windows(y: Array, index: Array, size: tuple[int, int]) -> Array:
    """Put y at ``index``, (N, C, I, J) -> (N, C, H, W), in the memory layout of ``index``."""
    n, c = y.shape[:2]
    last = _is_channels_last(index)
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


def _is_channels_last(x: Array) -> bool:
    return x.transpose(0, 2, 3, 1).flags.c_contiguous and not x.flags.c_contiguous
