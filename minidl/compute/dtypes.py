"""The dtype rules: what a result is made of, and in what its sums are kept.

    among arrays with axes   a float wins over integers, whatever their sizes; of two floats, or of
                             two integers, the wider one
    an array without axes    widens nothing of its own sort: it only turns integers into floats
    a Python number          the same; a float beside integers becomes float32
    a sum of integers        int64
    a sum of float16         kept in float32, then rounded

They are PyTorch's. NumPy's differ: to it int64 times float32 is float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import Array

default_dtype: np.dtype = np.dtype(np.float32)
"""The dtype that Python floats become; NumPy arrays keep the one they have."""

_SORT = {"b": 0, "i": 1, "u": 1, "f": 2}
"""Kinds of dtypes, from those that give way to those that win."""


def common_dtype(*values: Any) -> np.dtype:
    """Return the dtype of what combines these arrays and Python numbers, element by element."""
    found: list[np.dtype | None] = [None, None, None]  # numbers, arrays without axes, with axes
    for value in values:
        if isinstance(value, float):
            rank, dtype = 0, default_dtype
        elif isinstance(value, (bool, int)):
            rank, dtype = 0, np.dtype(bool if isinstance(value, bool) else np.int64)
        else:
            rank, dtype = 2 if value.ndim else 1, value.dtype
        before = found[rank]
        found[rank] = dtype if before is None else _wider(before, dtype)
    result: np.dtype | None = None
    for dtype in reversed(found):
        if dtype is not None:
            higher = result is not None and _SORT[dtype.kind] <= _SORT[result.kind]
            result = result if higher else dtype if result is None else _wider(result, dtype)
    assert result is not None
    return result


def _wider(a: np.dtype, b: np.dtype) -> np.dtype:
    if a == b or _SORT[a.kind] != _SORT[b.kind]:
        return a if _SORT[a.kind] >= _SORT[b.kind] else b
    return np.result_type(a, b)


def total(x: Array, axis: Any = None, keepdims: bool = False, scale: float | None = None) -> Array:
    """Sum along axes, and multiply by ``scale``; see above for the dtype."""
    if x.dtype.kind != "f":
        return x.sum(axis=axis, keepdims=keepdims, dtype=np.int64)
    kept = np.float32 if x.dtype == np.float16 else x.dtype
    summed = x.sum(axis=axis, keepdims=keepdims, dtype=kept)
    if scale is not None:
        summed = summed * summed.dtype.type(scale)
    return summed if kept is x.dtype else summed.astype(x.dtype)
