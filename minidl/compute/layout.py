"""The order of an image's numbers in memory: channels last, (N, H, W, C), is what kernels read."""

from __future__ import annotations

import numpy as np

from minidl.compute import buffers, threads
from minidl.compute.arrays import Array, xp_of

SHARES = 16
"""Parts that a copy is cut into at most, so that all cores get some."""

ALONE = 2**20
"""The numbers of an array below which threads take longer to meet than one of them to copy it."""

TOGETHER = 8
"""Channels that are copied at a time: their planes, and the pixels they go to, stay cached."""


def is_channels_last(x: Array) -> bool:
    """Whether an array (N, C, H, W) lies channels last in memory, and not also as it is written."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous and not x.flags.c_contiguous


def channels_last(x: Array) -> Array:
    """Lay out (N, C, H, W) as (N, H, W, C), contiguous; a copy only if it must be."""
    moved = x.transpose(0, 2, 3, 1)
    if moved.flags.c_contiguous:
        return moved
    if not isinstance(x, np.ndarray):
        return xp_of(x).ascontiguousarray(moved)
    y = buffers.result(moved.shape, x.dtype)
    step = TOGETHER if x.strides[1] > x.itemsize else max(x.shape[1], 1)

    def copy(images: slice) -> None:
        for c in range(0, x.shape[1], step):
            y[images, ..., c : c + step] = moved[images, ..., c : c + step]

    together = max(-(-len(y) // SHARES), 1)
    shares = [slice(n, n + together) for n in range(0, len(y), together)]
    threads.each(copy, shares, alone=y.size < ALONE)
    return y
