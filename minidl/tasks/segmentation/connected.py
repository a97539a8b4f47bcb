"""Connected components of a mask: which pixels hang together.

Every pixel begins as its own chief. For every pair of neighbours, the chief of one hooks on to
the smaller chief of the other; then all follow their chiefs' chiefs up to the top. A few rounds
of whole-array steps suffice (their number grows with the logarithm of the longest way).

Source: Shiloach & Vishkin 1982, "An O(log n) parallel connectivity algorithm".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import ArgumentError, ShapeError

STEPS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}
"""Steps (down, across) to half of a pixel's neighbours; the other half are the steps back."""


def components(mask: Any, connectivity: int = 4) -> np.ndarray:
    """Number the components 1, 2, ... in reading order; 0 where the mask is false.

    (H, W) bool -> (H, W) int64

    Parameters
    ----------
    mask : array of bool, shape (H, W)
    connectivity : {4, 8}
        Whether pixels that touch at a corner hang together.

    Examples
    --------
    >>> from minidl.tasks.segmentation import components
    >>> components([[1, 0, 1], [0, 1, 0]], connectivity=8).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    given = np.asarray(mask, bool)
    if given.ndim != 2:
        raise ShapeError(f"components: the mask must be (H, W), received shape {given.shape}")
    if connectivity not in STEPS:
        raise ArgumentError(f"components: connectivity is 4 or 8, received {connectivity}")
    first, second = _pairs(given, connectivity)
    chief = np.arange(given.size)
    while True:
        a, b = chief[first], chief[second]
        apart = a != b
        if not apart.any():
            break
        first, second, a, b = first[apart], second[apart], a[apart], b[apart]
        np.minimum.at(chief, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(higher := chief[chief], chief):
            chief = higher
    labels = np.zeros(given.size, np.int64)
    inside = given.ravel()
    labels[inside] = np.unique(chief[inside], return_inverse=True)[1] + 1
    return labels.reshape(given.shape)


def _pairs(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """List all pairs of neighbours in the mask, as flat indices."""
    rows, columns = mask.shape
    place = np.arange(mask.size).reshape(mask.shape)
    firsts, seconds = [], []
    for down, across in STEPS[connectivity]:
        here = (slice(0, rows - down), slice(max(-across, 0), columns - max(across, 0)))
        there = (slice(down, rows), slice(max(across, 0), columns - max(-across, 0)))
        both = mask[here] & mask[there]
        firsts.append(place[here][both])
        seconds.append(place[there][both])
    return np.concatenate(firsts), np.concatenate(seconds)
