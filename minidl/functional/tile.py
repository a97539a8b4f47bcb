"""Copies of a whole array side by side, and an array turned around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.errors import ArgumentError
from minidl.functional.index import Slice
from minidl.functional.shape import axis_of, expand, reshape
from minidl.naming import either_name
from minidl.tensor import Tensor, as_tensor


@either_name
def flip(x: Any, axis: int | tuple[int, ...]) -> Tensor:
    """Turn the order of the elements around along one or several axes."""
    x = as_tensor(x)
    wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
    turned = {axis_of("flip", a, x.ndim) for a in wanted}
    steps = tuple(slice(None, None, -1 if a in turned else 1) for a in range(x.ndim))
    return Slice(x.shape, steps)(x)


def tile(x: Any, reps: Sequence[int]) -> Tensor:
    """Repeat x as a whole, so often along each axis; missing axes come in front."""
    x = as_tensor(x)
    times = (*[1] * (x.ndim - len(reps)), *reps)
    shape = (*[1] * (len(times) - x.ndim), *x.shape)
    if min(times, default=1) < 0:
        raise ArgumentError(f"tile: x cannot be repeated so often: {tuple(reps)}")
    apart = tuple(s for size in shape for s in (1, size))
    copies = tuple(s for size, n in zip(shape, times, strict=True) for s in (n, size))
    joined = tuple(size * n for size, n in zip(shape, times, strict=True))
    return reshape(expand(reshape(x, apart), copies), joined)
