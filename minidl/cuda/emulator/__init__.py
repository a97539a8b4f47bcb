"""Runs CUDA kernels on the CPU: the very same .cu files, in this process, on NumPy arrays.

    with minidl.use_kernels("emulated"):
        y = F.conv2d(x, w)                 # computed by kernels/conv.cu

A block's threads are fibers that take turns (kernels/emulator/runtime.hpp), blocks are spread
over the cores. It says what a GPU would not: a barrier that some threads never reach, lanes
of a warp that wait for each other, a lane asked for a value that does not take part. For
races, overruns, reads of unwritten shared memory and what a warp's accesses cost, see
``minidl.cuda.emulator.trace`` and ``minidl.cuda.emulator.sanitize``.

It does not tell how fast a kernel is, nor does it know weak memory ordering.
"""

from __future__ import annotations

import ctypes
import shutil
import tempfile
import threading
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from minidl.compute import threads
from minidl.cuda.emulator.building import build
from minidl.cuda.prepare import Launch
from minidl.cuda.source import Source
from minidl.errors import KernelError, message

SINGLE_CORE_THREADS = 2048
"""The most CUDA threads of a launch for which a second core is not worth its start."""


def run(launch: Launch) -> None:
    """Compute a launch, its blocks spread over the cores.

    Raises
    ------
    KernelError
        If the kernel does not compile, or does something that a GPU would not let it do.
    DeviceError
        If there is no C++ compiler.
    """
    blocks = prod(launch.grid)
    library = _library(launch.kernel.source, launch.real)
    alone = blocks * prod(launch.block) <= SINGLE_CORE_THREADS
    parts = 1 if alone else min(threads.count(), blocks)
    bounds = [blocks * part // parts for part in range(parts + 1)]
    tasks = list(pairwise(bounds))
    packed = Packed(launch)
    threads.each(lambda task: library.run(launch, packed, *task), tasks, alone=parts == 1)


class Packed:
    """A launch's arguments in the form that ``minidl_run`` takes: the address of each."""

    def __init__(self, launch: Launch):
        self.kept = [_stored(value) for value in launch.values]
        self.addresses = (ctypes.c_void_p * max(len(self.kept), 1))(
            *(ctypes.addressof(stored) for stored in self.kept)
        )


def _stored(value: Any) -> Any:
    """A value in memory: an array's address, a number, or the bytes of a struct."""
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    data = value if isinstance(value, bytes) else value.tobytes()
    return ctypes.create_string_buffer(data, len(data))


class Library:
    """A built .cu file, loaded as often as threads use it at once.

    Its shared memory and its fibers are static, so that each thread needs a copy of the file:
    the system would load the same file only once.
    """

    def __init__(self, path: Path):
        self.path = path
        self.idle: list[ctypes.CDLL] = []
        self.lock = threading.Lock()

    def run(self, launch: Launch, packed: Packed, first: int, last: int) -> None:
        """Compute blocks ``first`` to ``last - 1``."""
        copy = self._take()
        text = call(copy, launch, packed, first, last)
        with self.lock:
            self.idle.append(copy)
        if text:
            first_line, *others = text.splitlines()
            raise KernelError(message(f"{launch.kernel.name}: {first_line}", *others))

    def _take(self) -> ctypes.CDLL:
        with self.lock:
            if self.idle:
                return self.idle.pop()
        with tempfile.NamedTemporaryFile(prefix=f"{self.path.name}-") as copy:
            shutil.copyfile(self.path, copy.name)
            return ctypes.CDLL(copy.name)


def call(library: ctypes.CDLL, launch: Launch, packed: Packed, first: int, last: int) -> str:
    """Compute blocks ``first`` to ``last - 1``; return what went wrong, or ``""``."""
    failed = library.minidl_run(
        ctypes.cast(library[f"minidl_call_{launch.kernel.name}"], ctypes.c_void_p),
        packed.addresses,
        (ctypes.c_uint * 3)(*launch.grid),
        (ctypes.c_uint * 3)(*launch.block),
        launch.shared,
        ctypes.c_longlong(first),
        ctypes.c_longlong(last),
    )
    library.minidl_error.restype = ctypes.c_char_p
    return library.minidl_error().decode(errors="replace") if failed else ""


@cache
def _library(source: Source, real: str) -> Library:
    return Library(build(source, real))
