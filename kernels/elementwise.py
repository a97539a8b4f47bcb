"""Launches kernels that have one formula for each number (include/each.cuh).

To them an array is a row of numbers in the order of its memory, whatever its axes.
"""

from __future__ import annotations

from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.arguments import PACK, address_of
from minidl.cuda.launch import lanes_of, launch_each, runs_natively
from minidl.cuda.prepare import ceil_div, empty
from minidl.cuda.source import Source
from minidl.kernels.packs import launch_packs

EACH = 1 << 12
"""The numbers that a thread of the CPU takes."""


def order_of(*arrays: Array) -> tuple[int, ...] | None:
    """The order of the axes in which arrays of one shape lie in memory, without gaps.

    None if they have gaps, or lie differently.
    """
    first = arrays[0]
    axes = tuple(range(first.ndim))
    if not first.flags.c_contiguous:
        axes = tuple(sorted(axes, key=lambda axis: -first.strides[axis]))
    if all(array.transpose(axes).flags.c_contiguous for array in arrays):
        return axes
    return None


def fits(*arrays: Array, **_: Any) -> str:
    """Tell why packs cannot take these arrays as rows."""
    if order_of(*arrays) is None:
        return "the arrays do not lie in memory alike, without gaps"
    if any(address_of(array) % PACK for array in arrays) and not runs_natively(arrays[0]):
        return "an array does not begin at a whole pack"
    return ""


def as_written(array: Array) -> Array:
    """The array in the order of its axes, copied where it lies otherwise."""
    return array if array.flags.c_contiguous else xp_of(array).ascontiguousarray(array)


def alike(array: Array, order: tuple[int, ...]) -> Array:
    """A new array, not filled in, of the shape and in the order of memory of another."""
    sizes = tuple(array.shape[axis] for axis in order)
    back = tuple(order.index(axis) for axis in range(array.ndim))
    return empty(xp_of(array), sizes, array.dtype).transpose(back)


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
    rows = {name: value.transpose(order) if hasattr(value, "transpose") else value
            for name, value in arguments.items()}
    launch_packs(kernel, ceil_div(S, each), each, first, **rows, each=each)
