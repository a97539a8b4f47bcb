"""How far a rung may be from the reference, and how far it is: for the tests and the checkers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.cuda.ladder import Rung


def tolerance(rung: Rung, dtype: Any) -> float:
    """The error that rounding explains, relative to the largest number of a result.

    The optional rungs round to TF32, of 11 bits.
    """
    if rung.optional:
        return 2e-3
    return 1e-12 if np.dtype(dtype) == np.float64 else 1e-5


def in_double(op: str, arrays: Sequence[Array], settings: Mapping[str, Any]) -> tuple[Array, ...]:
    """The reference's results in float64: better than anything they are compared with."""
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no images
        return as_tuple(getattr(reference, op)(*wide, **settings))


def difference(found: Array, wanted: Array) -> float:
    """The largest difference, relative to the largest number wanted; NaN equals NaN.

    Examples
    --------
    >>> difference(np.array([1.0, np.nan, 4.5]), np.array([1.0, np.nan, 5.0]))
    0.1
    """
    if found.shape != wanted.shape:
        return float("inf")
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    if same.all():
        return 0.0
    gap = np.abs(np.where(same, 0, found - wanted)).max()
    largest = float(np.nanmax(np.abs(wanted)))
    return float(gap / largest) if np.isfinite(gap) and largest else float("inf")


def as_tuple(result: Array | tuple[Array, ...]) -> tuple[Array, ...]:
    """The results of a function that gives one array, or several."""
    return result if isinstance(result, tuple) else (result,)
