"""Parameters gone through in blocks, so that what an update computes in between stays in a cache.

An expression such as ``m += (1 - beta) * (grad - m)`` makes arrays on its way. Of ten million
elements they go out to memory and come back; of a hundred thousand they do not.
"""

from __future__ import annotations

import numpy as np

from minidl.compute.arrays import Array

BLOCK = 2**19
"""Bytes of an array in one block: of smaller ones, calls cost more than caches bring."""


def in_blocks(*arrays: Array) -> list[tuple[Array, ...]]:
    """Cut arrays of one shape into views of the same places, for an elementwise update in place.

    Whatever the cut, each element is computed in the same way. Arrays stay whole if they are small,
    on a GPU, or do not lie in memory alike.
    """
    first = arrays[0]
    if not isinstance(first, np.ndarray) or first.nbytes <= BLOCK:
        return [arrays]
    axes = sorted(range(first.ndim), key=first.strides.__getitem__, reverse=True)
    memory = [array.transpose(axes) for array in arrays]
    if not all(array.flags.c_contiguous for array in memory):
        return [arrays]
    rows, step = [array.reshape(-1) for array in memory], BLOCK // first.itemsize
    return [tuple(row[a : a + step] for row in rows) for a in range(0, first.size, step)]
