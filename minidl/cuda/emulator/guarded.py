"""Copies of a launch's arrays in memory of their own, with room between them that is nobody's."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.cuda.prepare import Launch

ROOM = 1 << 16
"""Bytes before and behind every array that are nobody's."""

ALIGNED = 256
"""The bytes of which every array that a GPU allocates starts at a multiple."""


@dataclass
class Block:
    """One piece of memory: an array, or several that overlap.

    Attributes
    ----------
    parameters : list of int
        Which of the kernel's parameters lie in it.
    offset, size : int
        From the start of the memory, in bytes.
    element : int
        Bytes of an element.
    const : bool
        Whether the kernel may only read it.
    """

    parameters: list[int]
    offset: int
    size: int
    element: int
    const: bool

    def name(self, launch: Launch) -> str:
        """The parameter's name; of arrays that overlap, all of them, as in ``a/b``."""
        return "/".join(launch.kernel.parameters[p].name for p in self.parameters)


class Guarded:
    """The memory of one launch.

    The room is filled with 0xff, which is NaN as a number: an access beyond an array lands there
    and never in the next one. Alignment is that of the original, taken from where its memory
    starts, as if that were a multiple of 256. ``unwritten``: what the kernel may write is taken
    as memory in which nothing has been written yet.
    """

    def __init__(self, launch: Launch, unwritten: bool = False):
        self.original, self.unwritten = launch, unwritten
        self.blocks: list[Block] = []
        end = ROOM
        for group in _overlapping(launch):
            arrays = sorted((launch.values[p] for p in group), key=_address)
            start = _address(arrays[0])
            size = max(_address(a) + a.nbytes for a in arrays) - start
            offset = -(-end // ALIGNED) * ALIGNED + _offset(arrays[0]) % ALIGNED
            const = all(launch.kernel.parameters[p].const for p in group)
            element = min(a.itemsize for a in arrays)
            self.blocks.append(Block(group, offset, size, element, const))
            end = offset + size + ROOM
        self.memory = _aligned(end)
        self.launch = replace(launch, values=self._copied(launch.values))

    def _copied(self, values: Sequence[Any]) -> tuple[Any, ...]:
        copied = list(values)
        for block in self.blocks:
            start = min(_address(values[p]) for p in block.parameters)
            for p in block.parameters:
                array, at = values[p], block.offset + _address(values[p]) - start
                copied[p] = np.ndarray(array.shape, array.dtype, self.memory, at)
                copied[p][...] = array
        return tuple(copied)

    def copy_back(self) -> None:
        """Put what the kernel wrote where the caller expects it."""
        pairs = zip(self.launch.kernel.parameters, self.launch.values, self.original.values,
                    strict=True)
        for parameter, value, original in pairs:
            if parameter.pointer and not parameter.const:
                original[...] = value


def _overlapping(launch: Launch) -> list[list[int]]:
    """The parameters that are arrays, those that share memory together."""
    pointers = [p for p, value in enumerate(launch.values) if isinstance(value, np.ndarray)]
    groups: list[list[int]] = []
    end = 0
    for p in sorted(pointers, key=lambda p: _address(launch.values[p])):
        array = launch.values[p]
        if groups and _address(array) < end and array.nbytes:
            groups[-1].append(p)
        else:
            groups.append([p])
        end = max(end, _address(array) + array.nbytes)
    return [sorted(group) for group in groups]


def _address(array: np.ndarray) -> int:
    return array.ctypes.data


def _offset(array: np.ndarray) -> int:
    """Bytes from the start of the memory that an array is a view of."""
    whole = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    return _address(array) - _address(whole)


def _aligned(size: int) -> np.ndarray:
    memory = np.empty(size + ALIGNED, np.uint8)
    ctypes.memset(_address(memory), 0xFF, memory.nbytes)
    start = -_address(memory) % ALIGNED
    return memory[start : start + size]
