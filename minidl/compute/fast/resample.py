"""Resizing on a CPU: a table of taps as a matrix, one image a task.

A table has few taps among many zeros, and still one product by BLAS beats
gathering tap by tap, up to some hundred pixels a row.
"""

from __future__ import annotations

import numpy as np

from minidl.compute import buffers, threads
from minidl.compute.arrays import Array
from minidl.compute.reference.resample import resample as readable
from minidl.compute.taps import Taps

WORTH_THREADS = 100_000
"""Elements of an array from which threads bring more than they cost."""

DENSE = 64
"""Pixels per tap of a row up to which a product with a matrix pays."""


def resample(x: Array, down: Taps, across: Taps) -> Array:
    """Mix rows and columns, (N, C, H, W) -> (N, C, I, J), in the memory layout of x."""
    if not x.size:
        return readable(x, down, across)
    last = x.transpose(0, 2, 3, 1).flags.c_contiguous and not x.flags.c_contiguous
    memory = x.transpose(0, 2, 3, 1) if last else np.ascontiguousarray(x)
    n, c = x.shape[:2]
    i, j = down.count, across.count
    y = buffers.result((n, i, j, c) if last else (n, c, i, j), x.dtype)
    steps = [(down, 0 if last else 1), (across, 1 if last else 2)]
    steps.sort(key=lambda step: step[0].count / step[0].size)  # shrink first, grow last

    def resize(n: int) -> None:
        first, second = steps
        y[n] = _mix(_mix(memory[n], *first), *second)
        # The zeros of a matrix are no zeros to infinity and NaN: those images are
        # left to the reference, which only looks where there are taps.
        if not np.isfinite(y[n].sum()):
            exact = readable(x[n : n + 1], down, across)[0]
            y[n] = exact.transpose(1, 2, 0) if last else exact

    with np.errstate(over="ignore", invalid="ignore"):
        threads.each(resize, range(n), alone=max(x.size, y.size) < WORTH_THREADS)
    return y.transpose(0, 3, 1, 2) if last else y


def _mix(image: Array, taps: Taps, axis: int) -> Array:
    if taps.picks:
        return image.take(taps.index[:, 0], axis)
    if taps.size > DENSE * taps.index.shape[1]:
        return _gathered(image, taps, axis)
    shape = image.shape
    matrix = taps.matrix.astype(image.dtype)
    if axis == len(shape) - 1:
        return (image.reshape(-1, taps.size) @ matrix.T).reshape(*shape[:-1], taps.count)
    before = int(np.prod(shape[:axis], dtype=int))
    y = matrix @ image.reshape(before, taps.size, -1)
    return y.reshape(*shape[:axis], taps.count, *shape[axis + 1 :])


def _gathered(image: Array, taps: Taps, axis: int) -> Array:
    shape = [1] * image.ndim
    shape[axis] = taps.count
    weight = taps.weight.astype(image.dtype)
    y = image.take(taps.index[:, 0], axis)
    y *= weight[:, 0].reshape(shape)
    for t in range(1, taps.index.shape[1]):
        term = image.take(taps.index[:, t], axis)
        term *= weight[:, t].reshape(shape)
        y += term
    return y
