"""Sampling on a CPU, one image a task, with the channels of a pixel side by side.

Each pixel is then one row of memory: reading a tap is reading a row, and what
a pixel receives is a sum of rows, made in a fixed order by sorting them.
"""

from __future__ import annotations

import numpy as np

from minidl.compute import threads
from minidl.compute.arrays import Array

WORTH_THREADS = 50_000
"""Elements of an array from which threads bring more than they cost."""


def grid_sample_y(image: Array, weight: Array, index: Array) -> Array:
    """Mix pixels into points, (N, C, H W), (N, P, T) -> (N, C, P)."""
    n, c, _ = image.shape
    y = np.zeros((n, index.shape[1], c), image.dtype)

    def sample(n: int) -> None:
        pixels = _rows(image[n])
        for t in range(index.shape[2]):
            y[n] += weight[n, :, t, None] * pixels.take(index[n, :, t], 0)

    threads.each(sample, range(n), alone=y.size < WORTH_THREADS)
    return y.transpose(0, 2, 1)


def grid_sample_image(weight: Array, y: Array, index: Array, pixels: int) -> Array:
    """Sum what each pixel gave, (N, P, T), (N, C, P) -> (N, C, H W)."""
    n, c, _ = y.shape
    image = np.zeros((n, pixels, c), y.dtype)

    def gather(n: int) -> None:
        places = index[n].reshape(-1)
        if not places.size:
            return
        given = (weight[n, :, :, None] * _rows(y[n])[:, None]).reshape(-1, c)
        order = places.argsort(kind="stable")
        sorted_places = places[order]
        starts = np.flatnonzero(np.diff(sorted_places, prepend=-1))
        image[n, sorted_places[starts]] = np.add.reduceat(given[order], starts, 0)

    threads.each(gather, range(n), alone=y.size < WORTH_THREADS)
    return image.transpose(0, 2, 1)


def grid_sample_weight(image: Array, y: Array, index: Array) -> Array:
    """Sum what each tap met over channels, (N, C, H W), (N, C, P) -> (N, P, T)."""
    weight = np.empty(index.shape, y.dtype)

    def compare(n: int) -> None:
        pixels, values = _rows(image[n]), _rows(y[n])
        for t in range(index.shape[2]):
            weight[n, :, t] = (pixels.take(index[n, :, t], 0) * values).sum(1)

    threads.each(compare, range(len(y)), alone=y.size < WORTH_THREADS)
    return weight


def _rows(image: Array) -> Array:
    """Lay out (C, P) as (P, C), contiguous."""
    return np.ascontiguousarray(image.T)
