"""Changes of arrays in place, remembered, so that the graph notices when what it kept is another.

Whatever changes an array that others may hold (optimisers, ``load_state_dict``, running statistics,
``+=``) says so by ``changed``. The graph reads the ``clock`` when it keeps an array, and asks
``changed_since`` when it uses it. What a program does to a NumPy array behind minidl's back stays
unseen.
"""

from __future__ import annotations

import numpy as np

from minidl.compute.arrays import Array

MOST = 100_000
"""Changes that are remembered; of more, the older half is forgotten."""

clock = [0]
"""The number of changes so far; a list, which the graph's inner loop reads without a call."""

_last: dict[int, tuple[int, str]] = {}


def changed(array: Array, by: str) -> None:
    """Remember that an array was changed in place, and ``by`` what."""
    clock[0] += 1
    _last[_memory(array)] = clock[0], by
    if len(_last) > MOST:
        for key in list(_last)[: MOST // 2]:
            del _last[key]


def changed_since(array: Array, time: int) -> str:
    """Name what has changed an array, or memory that it shares, since ``time``; else ``""``."""
    when, by = _last.get(_memory(array), (0, ""))
    return by if when > time else ""


def _memory(array: Array) -> int:
    """Name the memory that an array, or the one that it is a view of, owns."""
    while type(array.base) is type(array):
        array = array.base
    return id(array) if isinstance(array, np.ndarray) else array.data.ptr
