"""Launches kernels that have one formula for each number (include/each.cuh).

To them an array is a row of numbers in the order of its memory, whatever its axes.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.arguments import PACK, address_of
from minidl.cuda.launch import lanes_of, launch_each, runs_natively
from minidl.cuda.prepare import ceil_div, empty
from minidl.cuda.source import Source
from minidl.kernels.packs import launch_packs

EACH = 1 << 12
"""The numbers that a thread of the CPU takes."""

Names = tuple[str, ...]


def order_of(*arrays: Array) -> tuple[int, ...] | None:
    """The order of the axes in which arrays of one shape lie in memory, without gaps.

    None if they have gaps, or lie differently.
    """
    for array in arrays:
        if not array.flags.c_contiguous:
            break
    else:
        return _as_written(arrays[0].ndim)
    order = _descending(arrays[0].strides)
    for array in arrays:
        if not array.transpose(order).flags.c_contiguous:
            return None
    return order


@cache
def _as_written(axes: int) -> tuple[int, ...]:
    return tuple(range(axes))


@lru_cache(maxsize=1024)
def _descending(strides: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(strides)), key=lambda axis: -strides[axis]))


@cache
def _back(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def fits(*arrays: Array, **_: Any) -> str:
    """Tell why packs cannot take these arrays as rows."""
    if order_of(*arrays) is None:
        return "the arrays do not lie in memory alike, without gaps"
    if not runs_natively(arrays[0]) and any(address_of(array) % PACK for array in arrays):
        return "an array does not begin at a whole pack"
    return ""


def as_written(array: Array) -> Array:
    """The array in the order of its axes, copied where it lies otherwise."""
    return array if array.flags.c_contiguous else xp_of(array).ascontiguousarray(array)


def alike(array: Array, order: tuple[int, ...]) -> Array:
    """A new array, not filled in, of the shape and in the order of memory of another."""
    shape = array.shape
    sizes = tuple([shape[axis] for axis in order])
    return empty(xp_of(array), sizes, array.dtype).transpose(_back(order))


def by_number(
    kernel: str, *arrays: Array, names: Names, results: Names, in_place: bool = False,
    **settings: Any,
) -> Any:
    """Run a kernel with a thread for each number of arrays, in the order of their axes.

    Parameters
    ----------
    names, results : tuple of str
        The kernel's names for the arrays, and for what it writes: one array, or a tuple of them.
    in_place : bool
        Whether a result called ``new_p`` is written to the array called ``p`` in the end.
    """
    given = dict(zip(names, map(as_written, arrays), strict=True))
    new = {name: alike(arrays[0], _as_written(arrays[0].ndim)) for name in results}
    launch_naive(kernel, **given, **new, **settings, S=arrays[0].size)
    if in_place:
        for name, result in new.items():
            old = arrays[names.index(name.removeprefix("new_"))]
            old[...] = result
            new[name] = old
    return _one_or_all(new)


def by_rows(
    kernel: str, *arrays: Array, source: Source, names: Names, results: Names,
    in_place: bool = False, **settings: Any,
) -> Any:
    """Run a kernel whose threads take stretches of arrays that lie alike; else as ``by_number``."""
    order = order_of(*arrays)
    assert order is not None  # as `fits` has seen
    given = dict(zip(names, arrays, strict=True))
    new = {name: given[name.removeprefix("new_")] if in_place else alike(arrays[0], order)
           for name in results}
    launch_rows(kernel, source, order, **given, **new, **settings, S=arrays[0].size)
    return _one_or_all(new)


def _one_or_all(new: dict[str, Array]) -> Any:
    found = tuple(new.values())
    return found if len(found) > 1 else found[0]


def launch_naive(kernel: str, **arguments: Any) -> None:
    """Run a kernel with a thread for each of the S numbers of its arrays."""
    if arguments["S"]:
        launch_each(kernel, arguments["S"], **arguments)


def launch_rows(kernel: str, source: Source, order: tuple[int, ...], **arguments: Any) -> None:
    """Run a kernel whose threads take stretches of the S numbers of arrays in this order."""
    first, S = next(iter(arguments.values())), arguments["S"]
    if not S:
        return
    each = EACH if runs_natively(first) else lanes_of(source, first)
    if not first.flags.c_contiguous:
        arguments = {name: value.transpose(order) if hasattr(value, "transpose") else value
                     for name, value in arguments.items()}
    launch_packs(kernel, ceil_div(S, each), each, first, **arguments, each=each)
