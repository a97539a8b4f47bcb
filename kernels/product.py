"""How the products of include/product.cuh are shared by threads, and how their matrices lie."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from minidl.compute import threads
from minidl.compute.arrays import Array
from minidl.cuda.launch import numbers_of, runs_natively
from minidl.cuda.prepare import ceil_div
from minidl.cuda.source import Source
from minidl.kernels.elementwise import as_written

PER_CORE = 2
"""Shares of a product for each thread of the CPU, which end together so; more would copy more."""

MANY = 192
"""The rows of a share, at most, about: their sums stay in a cache from piece to piece."""

SMALL = 1 << 18
"""The multiplications of a share, at least: some five microseconds of work."""


def stored(array: Array) -> tuple[Array, int]:
    """The matrices (..., A, B) as they lie in memory, and whether that is turned, (..., B, A)."""
    if array.flags.c_contiguous:
        return array, 0
    turned = array.swapaxes(-1, -2)
    return (turned, 1) if turned.flags.c_contiguous else (as_written(array), 0)


def as_stored(given: Mapping[str, Array]) -> dict[str, Array | int]:
    """Arguments of a launch: matrices as they lie in memory, and whether each is turned."""
    arguments: dict[str, Array | int] = {}
    for name, array in given.items():
        arguments[name], arguments[f"{name}_turned"] = stored(array)
    return arguments


def shares(
    source: Source, array: Array, count: int, rows: int, columns: int, steps: int
) -> tuple[int, int, int, int]:
    """The blocks, and threads of each, for so many products; rows and packs that a thread takes.

    Bits do not depend on these: each result is the sum of one thread, in the order of steps.
    """
    numbers = numbers_of(source, array)
    shape = numbers["WIDEST"], numbers["SUMS"], numbers["TALLEST"], numbers["LANES"]
    wanted = PER_CORE * threads.count() if runs_natively(array) else 0
    return _shares(*shape, wanted, count, rows, columns, steps)


@lru_cache(maxsize=1024)
def _shares(
    widest: int, sums: int, tallest: int, lanes: int, wanted: int,
    count: int, rows: int, columns: int, steps: int,
) -> tuple[int, int, int, int]:
    while widest > 1 and sums // widest < rows <= tallest:
        widest -= 1  # few rows at once, so that each pack is read once
    packs = ceil_div(columns, lanes)
    panels = ceil_div(packs, widest)
    tile = min(sums // ceil_div(packs, panels), tallest)
    if not wanted:
        each = 2 * tile
        return ceil_div(count * panels * ceil_div(rows, each), 64), 64, each, widest
    work = count * rows * columns * steps
    ranges = max(ceil_div(min(wanted, work // SMALL), count * panels), ceil_div(rows, MANY))
    each = ceil_div(ceil_div(rows, max(ranges, 1)), tile) * tile
    return count * panels * ceil_div(rows, each), 1, each, widest
