"""Copies of a whole array side by side, and an array turned around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.compute.counts import axis_of, distinct, wholes
from minidl.errors import ArgumentError, message
from minidl.functional.index import Slice
from minidl.functional.shape import expand, reshape
from minidl.naming import either_name
from minidl.tensor import Tensor, as_tensor


@either_name
def flip(x: Any, axis: int | tuple[int, ...]) -> Tensor:
    """Turn the order of the elements around along one or several axes."""
    x = as_tensor(x)
    wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
    turned = distinct("flip", [axis_of("flip", a, x.ndim) for a in wanted])
    steps = tuple(slice(None, None, -1 if a in turned else 1) for a in range(x.ndim))
    return Slice(x.shape, steps)(x)


def repeat(x: Any, reps: Sequence[int]) -> Tensor:
    """Do what ``tile`` does, as PyTorch's method of this name: every axis is told how often.

    Raises
    ------
    ArgumentError
        If there are fewer numbers than axes. (NumPy's function of this name repeats elements.)
    """
    x = as_tensor(x)
    if len(reps) < x.ndim:
        raise ArgumentError(
            message(
                "repeat: give a number of repetitions for each axis",
                f"x has shape {x.shape}, the numbers are {tuple(reps)}",
                hint=f"write x.repeat({', '.join(['1'] * (x.ndim - 1) + ['2'])}) to repeat the "
                "last axis; a number for every element is not taken.",
            )
        )
    return tile(x, reps)


def tile(x: Any, reps: Sequence[int]) -> Tensor:
    """Repeat x as a whole, so often along each axis; missing axes come in front.

    Raises
    ------
    ArgumentError
        If a number of repetitions is no integer, or negative.
    """
    x = as_tensor(x)
    times = (*[1] * (x.ndim - len(reps)), *wholes("tile: a number of repetitions", reps))
    shape = (*[1] * (len(times) - x.ndim), *x.shape)
    apart = tuple(s for size in shape for s in (1, size))
    copies = tuple(s for size, n in zip(shape, times, strict=True) for s in (n, size))
    joined = tuple(size * n for size, n in zip(shape, times, strict=True))
    return reshape(expand(reshape(x, apart), copies), joined)
