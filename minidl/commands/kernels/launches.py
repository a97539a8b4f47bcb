"""The launches that a call of a rung makes, and which results each block of one writes.

Neither is taken from what the launcher or the kernel says of itself: the launches are caught on
their way, and the tile of a block is found by running that block alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from minidl.cuda import emulator
from minidl.cuda.emulator.building import build
from minidl.cuda.ladder import Rung
from minidl.cuda.launch import executing
from minidl.cuda.prepare import Launch
from minidl.kernels.cases import Call

PATTERN = 0xAB
"""The byte that fills an array before a block runs: where it is gone, the block wrote."""

BLOCKS = 48
"""The most blocks that are run for the picture of who writes what."""


def caught(rung: Rung, call: Call) -> list[Launch]:
    """The launches of a call, in order; none of them is run."""
    launches: list[Launch] = []
    arrays, settings = call
    with executing(launches.append):
        rung(*arrays, **settings)
    return launches


@dataclass(frozen=True)
class Owners:
    """The elements of an array, and the block that writes each.

    Attributes
    ----------
    array : str
        The parameter's name.
    shape : tuple of int
        As it lies in memory.
    owner : array of int, (rows, columns)
        The array with all axes but the last taken together: the first of the blocks looked at
        that wrote the element, or -1.
    blocks : int
        How many were looked at, from the first on.
    """

    array: str
    shape: tuple[int, ...]
    owner: np.ndarray
    blocks: int


def owners(rung: Rung, call: Call) -> list[Owners]:
    """Find who writes the largest array that a kernel fills, for each launch of a call."""
    found: list[Owners] = []

    def look(launch: Launch) -> None:
        found.append(_owners(launch))
        emulator.run(launch)

    arrays, settings = call
    with executing(look):
        rung(*arrays, **settings)
    return found


def _owners(launch: Launch) -> Owners:
    constant = {p.name for p in launch.kernel.parameters if p.const}
    arrays = {name: a for name, a in launch.named_arrays().items() if name not in constant}
    library = emulator.Library(build(launch.kernel.source, launch.real))
    packed = emulator.Packed(launch)
    name, written = max(arrays.items(), key=lambda item: item[1].size)
    memory = written.reshape(-1)  # a view: launches hold contiguous arrays
    raw = memory.view(np.uint8).reshape(memory.size, -1)
    owner = np.full(memory.size, -1)
    blocks = min(prod(launch.grid), BLOCKS)
    for block in range(blocks):
        raw[...] = PATTERN
        library.run(launch, packed, block, block + 1)
        owner[(owner < 0) & (raw != PATTERN).any(1)] = block
    return Owners(name, written.shape, owner.reshape(-1, written.shape[-1]), blocks)
