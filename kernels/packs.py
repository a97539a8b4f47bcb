"""Launches kernels whose threads take packs of neighbours (include/packs.cuh)."""

from __future__ import annotations

from typing import Any

from minidl.compute.arrays import Array
from minidl.compute.layout import channels_last
from minidl.cuda.arguments import TO_NHWC
from minidl.cuda.launch import lanes_of, launch, runs_natively
from minidl.cuda.prepare import ceil_div
from minidl.cuda.source import Source

SHARE = 1 << 14
"""The numbers that a thread of the CPU takes at a time: some ten microseconds of work."""

BLOCK = 64
"""Threads of a block elsewhere: there are few of them, and a GPU has many multiprocessors."""

MANY = 16
"""The most packs side by side that a thread of the CPU takes."""


def in_order(x: Array, order: tuple[int, ...]) -> Array:
    """The array with its axes in an order of memory: a copy, quickly made, if it lies otherwise."""
    return channels_last(x) if order == TO_NHWC else x.transpose(order)


def shares(source: Source, run: int, array: Array) -> tuple[int, int]:
    """The packs that a thread takes, and how many threads share a run of so many numbers.

    A thread of a CPU takes what lies together; a GPU has more threads to feed.
    """
    packs = ceil_div(run, lanes_of(source, array))
    many = min(packs, MANY) if runs_natively(array) else 1
    return many, ceil_div(packs, many)


def launch_packs(
    kernel: str, threads: int, numbers: int, result: Array, **arguments: Any
) -> None:
    """Run a kernel with ``threads`` threads, each of which reads or writes so many numbers.

    ``result``, an array of the launch, tells which machine runs it.
    """
    block = min(max(SHARE // numbers, 1), 256) if runs_natively(result) else BLOCK
    launch(kernel, ceil_div(threads, block), block, **arguments)
