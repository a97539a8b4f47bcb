"""Runs kernels on the CPU at its own speed: the very same .cu files, compiled for it.

A launch is a loop over its threads, which the compiler turns into vectors where a thread has a
pack of numbers to compute (kernels/include/packs.cuh). That is possible for kernels whose threads
never meet: without barriers, shared memory or warps. The others are run by
``minidl.cuda.emulator``, which looks for errors, where this does not: it is for speed.

The blocks of a launch are shared by threads of a small pool (kernels/native/pool.cpp). Its results
are the same bits for any number of them.
"""

from __future__ import annotations

import ctypes
import os
import struct
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from minidl.compute import threads
from minidl.cuda.arguments import address_of
from minidl.cuda.compiler import compiler
from minidl.cuda.native.building import build, build_pool, refuse_meetings
from minidl.cuda.prepare import Launch
from minidl.cuda.source import DTYPES, Kernel, Source, struct_of
from minidl.errors import DeviceError, message


def why_not() -> str:
    """Tell why kernels cannot run natively here; ``""`` if they can."""
    return _given_up.get("reason", "") or _missing()


def give_up(cause: Exception) -> None:
    """Leave native code alone until the process ends, and warn that it is slower so."""
    _given_up["reason"] = str(cause).splitlines()[0]
    warnings.warn(
        message("kernels are not built for this CPU: NumPy computes in their place, slower",
                str(cause), hint="mend the compiler, or set MINIDL_NATIVE=0."),
        RuntimeWarning, stacklevel=2,
    )


_given_up: dict[str, str] = {}


@cache
def _missing() -> str:
    if os.environ.get("MINIDL_NATIVE") == "0":
        return "MINIDL_NATIVE is 0"
    if os.name != "posix":
        return "libraries are built for systems of the POSIX kind only"
    try:
        compiler()
    except DeviceError as cause:
        return str(cause).splitlines()[0]
    return ""


def run(launch: Launch) -> None:
    """Compute a launch.

    Raises
    ------
    KernelError
        If threads of the kernel meet, or it does not compile.
    DeviceError
        If there is no C++ compiler.
    """
    form = form_of(launch.kernel, launch.real)
    values = [address_of(v) if isinstance(v, np.ndarray) else v for v in launch.values]
    form.call(launch.grid, launch.block, values)


_LETTERS = {"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I",
            "u8": "Q", "f4": "f", "f8": "d", "b1": "?"}
"""The letters of ``struct`` for numbers, by NumPy's."""


class Form:
    """How the arguments of a kernel are laid out in memory, and where it is called.

    Attributes
    ----------
    parameters : list of (name, dtype, const) or of (name, None, parameter)
        An array's dtype, and whether it is only read; else a number or a struct.
    plain : bool
        Whether arrays are handed over in the order of their memory: no parameter says NHWC.
    """

    def __init__(self, kernel: Kernel, real: str):
        refuse_meetings(kernel)
        library = _library(kernel.source, real)
        self.function = ctypes.cast(library[f"minidl_call_{kernel.name}"], ctypes.c_void_p).value
        self.plain = all(p.layout == "NCHW" for p in kernel.parameters)
        self.parameters: list[tuple[str, Any, Any]] = []
        slots = []
        for parameter in kernel.parameters:
            kind = real if parameter.type == "real" else parameter.type
            if parameter.pointer:
                slots.append("Q")
                self.parameters.append((parameter.name, DTYPES[kind], parameter.const))
                continue
            dtype = DTYPES[kind] if kind in DTYPES else struct_of(kernel.source, kind, real)
            letter = _LETTERS[dtype.str[1:]] if kind in DTYPES else f"{dtype.itemsize}s"
            slots.append(f"{letter}{-dtype.itemsize % 8}x")
            self.parameters.append((parameter.name, None, parameter))
        self.packed = struct.Struct("=6I2q" + "".join(slots))
        self.share, self.threads = _share(), threads.count()

    def call(self, grid: Sequence[int], block: Sequence[int], values: Sequence[Any]) -> None:
        """Run the kernel on arrays' addresses, numbers, and the bytes of structs."""
        blocks = grid[0] * grid[1] * grid[2]
        packed = self.packed.pack(*grid, *block, blocks, self.threads, *values)
        self.share(self.function, packed)


@cache
def form_of(kernel: Kernel, real: str) -> Form:
    """The form of a kernel, which is built if need be."""
    return Form(kernel, real)


@cache
def vector(source: Source, real: str) -> int:
    """The bytes of this CPU's registers of several numbers, for which a file was compiled."""
    return ctypes.c_int.in_dll(_library(source, real), "minidl_vector").value


@cache
def _library(source: Source, real: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(build(source, real)))


@cache
def _share() -> Any:
    share = ctypes.CDLL(str(build_pool())).minidl_share
    share.restype = None
    share.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return share
