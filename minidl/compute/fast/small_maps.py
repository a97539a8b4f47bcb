"""Convolution of small maps on a CPU: one product of matrices a tap, over many images.

Where a map has a few pixels and many channels, the weights are the largest of the three arrays:
each of them should be read once for all images. So the sum goes tap by tap. The windows whose tap
lies inside the image, and the pixels that it lies on there, *meet*:

    y[n, (i, j), o]  +=  x[n, (h, w), c] @ w[k, l, c, o]

Padding is never multiplied: around a map of 2 x 2 pixels it is more than half of what 3 x 3 taps
look at. The other two corners are the same product with its operands in other places. A single
window (where a vector becomes an image, or an image a vector) needs no loop over taps: it meets all
of its pixels at once.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.compute import buffers, threads
from minidl.compute.arrays import Array
from minidl.compute.fast.axis import axes_of
from minidl.compute.windows import Windows

WORTH_THREADS = 20_000_000
"""Multiplications of a call from which threads bring more than they cost."""

PIXELS = 100
"""The most windows, I J, of a map that counts as small."""

WEIGHTS = 2**13
"""The fewest weights of a tap, C O, for which a product per tap pays."""

MANY_WEIGHTS, MANY_PIXELS = 2**16, 1000
"""Weights of a tap from which their gradient is summed by tap, and the most windows of such maps:
the other code's partial sums, each as large as all weights, would cost more than the products."""

ROWS = 256
"""Rows of a product: so many windows (of one image, or of several) share a reading of weights."""

CHANNELS = 128
"""Channels of a result that one thread computes."""


class Meeting(NamedTuple):
    """What meets: the same rectangle of pixels, or of taps, or of windows, by each axis."""

    pixels: tuple[slice, slice]
    taps: tuple[slice, slice]
    outputs: tuple[slice, slice]


def fit(windows: Windows, weights: int) -> bool:
    """Tell whether maps are small, for C O weights a tap: never by the number of images."""
    pixels = windows.output[0] * windows.output[1]
    return pixels == 1 or (pixels <= PIXELS and weights >= WEIGHTS)


def fit_w(windows: Windows, weights: int) -> bool:
    """Tell whether the weights' gradient is to be summed by tap."""
    few = windows.output[0] * windows.output[1] <= MANY_PIXELS
    return fit(windows, weights) or (few and weights >= MANY_WEIGHTS)


def conv2d_y(x: Array, w: Array, windows: Windows) -> Array:
    """Convolve, (N, H, W, C) * (K, L, C, O) -> (N, I, J, O)."""
    o = w.shape[3]
    y = buffers.result((len(x), *windows.output, o), x.dtype)
    y[...] = 0
    meetings = _meetings(windows)

    def fill(task: tuple[slice, slice]) -> None:
        images, part = task
        for pixels, taps, outputs in meetings:
            target = y[(images, *outputs, part)]
            weight = w[(*taps, slice(None), part)].reshape(-1, target.shape[3])
            target += (x[(images, *pixels)].reshape(-1, len(weight)) @ weight).reshape(target.shape)

    threads.each(fill, _tasks(len(x), windows, o), _alone(len(x), w, windows))
    return y


def conv2d_x(w: Array, y: Array, windows: Windows) -> Array:
    """Transpose that, (K, L, C, O) * (N, I, J, O) -> (N, H, W, C)."""
    c, o = w.shape[2:]
    x = buffers.result((len(y), *windows.image, c), y.dtype)
    x[...] = 0
    meetings = _meetings(windows)

    def fill(task: tuple[slice, slice]) -> None:
        images, part = task
        for pixels, taps, outputs in meetings:
            target = x[(images, *pixels, part)]
            weight = w[(*taps, part)].reshape(-1, o)
            target += (y[(images, *outputs)].reshape(-1, o) @ weight.T).reshape(target.shape)

    threads.each(fill, _tasks(len(y), windows, c), _alone(len(y), w, windows))
    return x


def conv2d_w(x: Array, y: Array, windows: Windows) -> Array:
    """Sum the weights' gradient, (N, H, W, C) * (N, I, J, O) -> (K, L, C, O)."""
    c, o = x.shape[3], y.shape[3]
    w = buffers.result((*windows.kernel, c, o), x.dtype)
    meetings, blocks = _meetings(windows), _blocks(len(x), windows)
    if sum(w[taps].size for _, taps, _ in meetings) < w.size:
        w[...] = 0  # some taps meet nothing

    def fill(meeting: Meeting) -> None:
        pixels, taps, outputs = meeting
        target = w[taps]
        for images in blocks:
            given = y[(images, *outputs)].reshape(-1, o)
            met = x[(images, *pixels)].reshape(len(given), -1)
            product = (met.T @ given).reshape(target.shape)
            np.add(target, product, out=target) if images.start else np.copyto(target, product)

    threads.each(fill, meetings, _alone(len(x), w, windows))
    return w


def _alone(n: int, w: Array, windows: Windows) -> bool:
    return n * windows.output[0] * windows.output[1] * w.size < WORTH_THREADS


def _meetings(windows: Windows) -> list[Meeting]:
    """List what meets: by tap, or all of a single window. A tap is in one meeting at most."""
    rows, columns = _along(0, windows), _along(1, windows)
    return [Meeting(*zip(row, column, strict=True)) for row in rows for column in columns]


def _along(axis: int, windows: Windows) -> list[tuple[slice, slice, slice]]:
    """List (pixels, taps, windows) that meet along one axis, without those where nothing does."""
    places = axes_of(windows)[axis]
    size, taps, count = windows.image[axis], windows.kernel[axis], windows.output[axis]
    if windows.output == (1, 1):
        met = places.turned.inside(0, size, taps)
        found = [(places.turned.at(0, met), met, slice(0, 1))]
    else:
        inside = [places.inside(tap, size, count) for tap in range(taps)]
        found = [(places.at(m, met), slice(m, m + 1), met) for m, met in enumerate(inside)]
    return [(p, t, w) for p, t, w in found if t.start < t.stop and w.start < w.stop]


def _blocks(n: int, windows: Windows) -> list[slice]:
    together = max(ROWS // (windows.output[0] * windows.output[1]), 1)
    return [slice(a, min(a + together, n)) for a in range(0, n, together)]


def _tasks(n: int, windows: Windows, channels: int) -> list[tuple[slice, slice]]:
    """Cut a result into images and channels; a single window's channels stay together."""
    wide = channels if windows.output == (1, 1) else CHANNELS
    parts = [slice(a, min(a + wide, channels)) for a in range(0, channels, wide)]
    return [(images, part) for images in _blocks(n, windows) for part in parts]
