"""Runs CUDA kernels on the CPU: the very same .cu files, in this process, on NumPy arrays.

    with minidl.use_kernels("emulated"):
        y = F.conv2d(x, w)                 # computed by kernels/conv.cu

A block's threads are fibers that take turns (kernels/emulator/runtime.hpp), blocks are spread
over the cores. It says what a GPU would not: a barrier that some threads never reach, lanes
of a warp that wait for each other, a lane asked for a value that does not take part, and which
line divided by zero or left all memory (``minidl.cuda.emulator.guard``, with a limit of time). For
races, overruns, reads of unwritten shared memory and what a warp's accesses cost, see
``minidl.cuda.emulator.trace`` and ``minidl.cuda.emulator.sanitize``.

It does not tell how fast a kernel is, nor does it know weak memory ordering.
"""

from __future__ import annotations

import ctypes
import tempfile
import threading
import warnings
from contextlib import nullcontext
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from minidl.compute import threads
from minidl.cuda.cache import private
from minidl.cuda.emulator import guard
from minidl.cuda.emulator.building import build
from minidl.cuda.emulator.text import device_variables
from minidl.cuda.prepare import Launch
from minidl.cuda.source import Source, whole_text
from minidl.errors import DeviceError, KernelError, message

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
    alone = library.alone or blocks * prod(launch.block) <= SINGLE_CORE_THREADS
    parts = 1 if alone else min(threads.count(), blocks)
    bounds = [blocks * part // parts for part in range(parts + 1)]
    tasks = list(pairwise(bounds))
    packed = Packed(launch)
    seconds = guard.limit()
    threads.each(lambda task: library.run(launch, packed, *task, seconds), tasks, alone=parts == 1)


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
    the system would load the same file only once. ``__device__`` variables are static too, and
    there is one of each: a file that has some is loaded once, for one thread at a time.
    """

    def __init__(self, path: Path, alone: bool = False):
        self.path, self.alone = path, alone
        self.data = path.read_bytes()  # the file may be gone when another copy is needed
        self.idle: list[ctypes.CDLL] = []
        self.lock = threading.Lock()
        self.turn = threading.Lock()

    def run(
        self, launch: Launch, packed: Packed, first: int, last: int, seconds: float | None = None
    ) -> None:
        """Compute blocks ``first`` to ``last - 1``, in no more time than ``seconds``."""
        with self.turn if self.alone else nullcontext():
            copy = self._take()
            try:
                text = call(copy, launch, packed, first, last, seconds)
            except guard.Died as died:  # the copy is left as it is, and not used again
                raise guard.error_of(died, launch, self.path) from None
            with self.lock:
                self.idle.append(copy)
        if text:
            first_line, *others = text.splitlines()
            raise KernelError(message(f"{launch.kernel.name}: {first_line}", *others))

    def _take(self) -> ctypes.CDLL:
        with self.lock:
            if self.idle:
                return self.idle.pop()
        return load(self.data, self.path.name)


def load(data: bytes, name: str) -> ctypes.CDLL:
    """Load a library from its bytes: each time another copy.

    Raises
    ------
    DeviceError
        If there is no folder from which it can be loaded.
    """
    reasons = []
    for where in (Path(tempfile.gettempdir()), private("emulator")):
        try:
            with tempfile.NamedTemporaryFile(dir=where, prefix=f"{name}-") as copy:
                copy.write(data)
                copy.flush()
                return ctypes.CDLL(copy.name)
        except OSError as cause:  # it is full, or nothing may run from there
            reasons.append(f"{where}: {cause}")
            _warn_of_folder(str(where), cause.strerror or "nothing may be run from there")
    raise DeviceError(
        message("the emulator cannot load what the compiler made", *reasons,
                hint="set TMPDIR to a folder that has room, and is not mounted noexec.")
    )


@cache
def _warn_of_folder(where: str, cause: str) -> None:
    warnings.warn(
        message(f"a library cannot be loaded from {where}", cause,
                hint="set TMPDIR to a folder that has room, and is not mounted noexec."),
        RuntimeWarning, stacklevel=2,
    )


def call(
    library: ctypes.CDLL, launch: Launch, packed: Packed, first: int, last: int,
    seconds: float | None = None,
) -> str:
    """Compute blocks ``first`` to ``last - 1``; return what went wrong, or ``""``.

    Raises
    ------
    minidl.cuda.emulator.guard.Died
        If it did not come to its end; the library cannot be used again.
    """
    arguments = (
        ctypes.cast(library[f"minidl_call_{launch.kernel.name}"], ctypes.c_void_p),
        packed.addresses,
        (ctypes.c_uint * 3)(*launch.grid),
        (ctypes.c_uint * 3)(*launch.block),
        launch.shared,
        ctypes.c_longlong(first),
        ctypes.c_longlong(last),
    )
    failed = guard.call(library, arguments, seconds)
    library.minidl_error.restype = ctypes.c_char_p
    return library.minidl_error().decode(errors="replace") if failed else ""


@cache
def _library(source: Source, real: str) -> Library:
    return Library(build(source, real), alone=bool(device_variables(whole_text(source))))
