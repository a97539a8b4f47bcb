"""Memory that is used again.

The system hands out fresh memory page by page, zeroing each: for an array of
30 MB this costs as much as computing it. So scratch is kept per thread, and
large results come from blocks whose last user is gone.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence

import numpy as np

KEPT = 512 * 2**20
"""Bytes that waiting blocks may hold together."""

SMALL = 2**20
"""Bytes below which a result is left to NumPy, which recycles small ones itself."""

_blocks: list[np.ndarray] = []
_lock = threading.Lock()
_scratch = threading.local()


def scratch(name: str, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Return an array of this thread's own, undefined, valid until asked for again."""
    needed = math.prod(shape) * dtype.itemsize
    block = getattr(_scratch, name, None)
    if block is None or block.nbytes < needed:
        block = np.empty(needed, np.uint8)
        setattr(_scratch, name, block)
    return block[:needed].view(dtype).reshape(shape)


def result(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Return a new, undefined array in memory that nobody else holds any more."""
    needed = math.prod(shape) * dtype.itemsize
    if needed < SMALL:
        return np.empty(shape, dtype)
    with _lock:
        block = _waiting(needed)
        if block is None:
            block = np.empty(needed, np.uint8)
            _blocks.append(block)
            while sum(b.nbytes for b in _blocks) > KEPT:
                del _blocks[0]
    return block[:needed].view(dtype).reshape(shape)


def like(x: np.ndarray) -> np.ndarray:
    """Return a new, undefined array of x's shape, dtype and order of memory, as ``result`` does."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    made = result([x.shape[axis] for axis in order], x.dtype)
    return made.transpose([order.index(axis) for axis in range(x.ndim)])


def _waiting(needed: int) -> np.ndarray | None:
    """Find a block that no array looks at: every view holds a reference to its block."""
    for i in range(len(_blocks)):
        # Two: the list's own, and getrefcount's argument.
        if needed <= _blocks[i].nbytes <= 2 * needed and sys.getrefcount(_blocks[i]) == 2:
            _blocks.append(_blocks.pop(i))
            return _blocks[-1]
    return None
