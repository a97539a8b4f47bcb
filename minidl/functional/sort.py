"""Putting elements in order. The order has no derivative; reading in that order is linear."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.counts import whole
from minidl.errors import ArgumentError, message
from minidl.functional.index import TakeAlong
from minidl.functional.reduce import axes_of
from minidl.functional.shape import reshape
from minidl.naming import either_name
from minidl.tensor import Tensor, as_tensor


class Ordered(NamedTuple):
    """Elements in order along one axis, and where they were."""

    values: Tensor
    indices: Tensor
    """Places along the axis, int64."""


def _order(x: Array, axis: int, descending: bool) -> Array:
    """Return the places along an axis in the order of their elements; equal ones stay in order."""
    options = {"kind": "stable"} if xp_of(x) is np else {}  # CuPy's is, always
    if not descending:
        return x.argsort(axis=axis, **options)
    turned = (*[slice(None)] * axis, slice(None, None, -1))  # NaN comes first, as the largest
    return x.shape[axis] - 1 - x[turned].argsort(axis=axis, **options)[turned]


def _read(who: str, x: Any, axis: int, descending: bool, count: int | None) -> Ordered:
    given = as_tensor(x)
    (along,) = axes_of(who, (axis,), max(given.ndim, 1))
    x = given if given.ndim else reshape(given, (1,))
    size = x.shape[along]
    if count is not None and count > size:
        raise ArgumentError(
            message(f"{who}: k must be from 0 to {size}, the length of axis {along}",
                    f"x has shape {given.shape}, k is {count}")
        )
    places = _order(x.data, along, descending)
    if count is not None:
        places = places[(*[slice(None)] * along, slice(count))]
    values, indices = TakeAlong(size, places, along, once=True)(x), Tensor(places)
    if given.ndim or count == 0:
        return Ordered(values, indices)
    return Ordered(reshape(values, ()), reshape(indices, ()))


@either_name
def sort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Ordered:
    """Put the elements in order along ``axis``: (values, indices), as PyTorch returns them.

    Equal elements stay in their order, whatever ``stable`` is; NaN counts as the largest.
    """
    return _read("sort", x, axis, descending, None)


@either_name
def argsort(x: Any, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the places of the elements in order along ``axis``, int64; carries no gradient."""
    return _read("argsort", as_tensor(x).detach(), axis, descending, None).indices


@either_name
def topk(x: Any, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> Ordered:
    """Take the k largest elements along ``axis``, or the smallest: (values, indices).

    They are in order, whatever ``sorted`` is; of equal ones the first come first.

    Raises
    ------
    ArgumentError
        If there are fewer than k, or k is no integer, or negative.
    """
    return _read("topk", x, axis, largest, whole("topk: k", k))
