"""Runs a library's blocks so that Python outlives what a kernel does (emulator/guard.cpp).

A fault, such as a division by zero, becomes a KernelError that names line and thread; Ctrl-C stops
a kernel that never ends, and so does a limit of time:

    with time_limit(5):
        launch(kernel, 1, 256, x=x)
"""

from __future__ import annotations

import ctypes
import itertools
import platform
import signal
import sys
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minidl.cuda.emulator.addresses import Place, line_table
from minidl.cuda.emulator.building import build_guard
from minidl.cuda.source import folder
from minidl.errors import ArgumentError, KernelError, message

if TYPE_CHECKING:
    from minidl.cuda.prepare import Launch

_limit: ContextVar[float | None] = ContextVar("limit", default=None)


class Death(ctypes.Structure):
    """What ended a launch: a signal, the address that was touched, and the one of the code."""

    _fields_ = (
        ("signal", ctypes.c_int), ("code", ctypes.c_int),
        ("address", ctypes.c_ulonglong), ("at", ctypes.c_ulonglong),
    )


class Died(Exception):
    """A launch ended in the middle, and its library is of no more use."""

    def __init__(self, death: Death, thread: str, full: bool, at: int, seconds: float | None):
        super().__init__(thread)
        self.death, self.thread, self.full, self.at = death, thread, full, at
        self.seconds = seconds


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop each emulated launch in a ``with`` block that takes longer, with a KernelError.

    Of limits inside each other the shortest holds.

    Raises
    ------
    ArgumentError
        If ``seconds`` is not positive.
    KernelError
        Inside; it names the line and the thread that ran at that moment.
    """
    if not seconds > 0:
        raise ArgumentError(
            message(f"time_limit: seconds is {seconds!r}", hint="give a positive number.")
        )
    around = _limit.get()
    token = _limit.set(seconds if around is None else min(seconds, around))
    try:
        yield
    finally:
        _limit.reset(token)


def limit() -> float | None:
    """The most seconds that a launch may take; None where there is no limit."""
    return _limit.get()


def call(library: ctypes.CDLL, arguments: tuple[Any, ...], seconds: float | None) -> int:
    """Call a library's minidl_run; return what it returns.

    Raises
    ------
    Died
        If it did not come to its end.
    """
    guard = _guard()
    if guard is None:
        return int(library.minidl_run(*arguments))
    start, end = code_of(library)
    death = Death()
    at_once = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    tag = next(_tags)
    ended, late = threading.Event(), threading.Event()
    if seconds:
        wait = min(seconds, threading.TIMEOUT_MAX)
        given = (guard, tag, wait, ended, late)
        threading.Thread(target=_stop_late, args=given, daemon=True).start()
    try:
        result = guard.minidl_guarded(
            library.minidl_run, *arguments, ctypes.c_size_t(start), ctypes.c_size_t(end),
            int(at_once), tag, ctypes.byref(death),
        )
    except KeyboardInterrupt:  # by the very signal that has stopped the kernel, or would have
        if not death.signal:
            raise
        result = 2
    finally:
        ended.set()
    if result == 2:
        full = ctypes.c_int()
        library.minidl_died.restype = ctypes.c_char_p
        thread = library.minidl_died(ctypes.c_void_p(death.address), ctypes.byref(full))
        spent = seconds if late.is_set() else None  # else it was Ctrl-C
        raise Died(death, thread.decode(), bool(full.value), death.at - start, spent)
    return int(result)


def _stop_late(
    guard: ctypes.CDLL, tag: int, seconds: float, ended: threading.Event, late: threading.Event
) -> None:
    """Stop a launch that has not ended in time: again and again, as it may not have begun yet."""
    while not ended.wait(seconds):
        late.set()
        guard.minidl_stop(tag)


_tags = itertools.count(1)


def code_of(library: ctypes.CDLL) -> tuple[int, int]:
    """Where a library's code lies in memory: from, to."""
    known: tuple[int, int] | None = getattr(library, "code", None)
    if known is None:
        start, end = ctypes.c_size_t(), ctypes.c_size_t()
        library.minidl_code(ctypes.byref(start), ctypes.byref(end))
        known = library.code = (start.value, end.value)  # type: ignore[attr-defined]
    return known


def error_of(died: Died, launch: Launch, program: Path) -> BaseException:
    """The error to raise for a launch that died, whose library was loaded from ``program``."""
    place, line = _place(launch, program, died.at)
    name, number = launch.kernel.name, died.death.signal
    who = f"{name}: {died.thread}"
    if number == signal.SIGURG:
        seconds = died.seconds
        where = f"it was at {place}" if place else "the line is not known"
        if seconds is None:
            return KeyboardInterrupt(message(f"{who} was stopped", where, line))
        return KernelError(
            message(f"{who} was stopped: the launch took more than {seconds:g} s", where, line,
                    hint="does a loop never end, or wait for a thread that comes later?")
        )
    facts = [f"at {place}", line] if place else ["the line is not known"]
    return KernelError(message(f"{who} {_what(died, launch)}", *facts))


def _what(died: Died, launch: Launch) -> str:
    death = died.death
    if death.signal == signal.SIGFPE:
        return "divides an integer by zero (or the smallest one by -1)"
    if death.signal == signal.SIGILL:
        return "comes to where its code cannot go on: does a function end without its return?"
    if died.full:
        return "needs more local memory than a thread has, 512 KB: too large arrays, or recursion"
    if not death.address:
        return "touches memory at an address that no machine has, or packs that are misaligned"
    return f"touches memory that is nobody's, at address {death.address:#x}{_near(death, launch)}"


def _near(death: Death, launch: Launch) -> str:
    """Words for an address, counted from the array that starts nearest to it."""
    arrays = [(name, a) for name, a in launch.named_arrays().items() if isinstance(a, np.ndarray)]
    if not arrays:
        return ""
    name, array = min(arrays, key=lambda each: abs(death.address - each[1].ctypes.data))
    element = (death.address - array.ctypes.data) // array.itemsize
    if abs(element) > 2**48:
        return ", far from every array"
    return f": counted from {name}, which has {array.size} elements, it is {name}[{element}]"


def _place(launch: Launch, program: Path, at: int) -> tuple[str, str]:
    """The place in the kernel's files of an address in its library, and the text of that line.

    Code of the emulator's own headers, put into a kernel's, belongs to the line before it.
    """
    starts, places = line_table(program)
    row = bisect_right(starts, at) - 1
    for start, (file, line) in zip(starts[row::-1], places[row::-1], strict=True):
        if row < 0 or at - start > 4096:
            break
        if _is_kernels(launch, (file, line)):
            text = launch.kernel.source.text
            if not _is_source(launch, file):
                text = Path(file).read_text(encoding="utf-8")
            lines = text.splitlines()
            quoted = f"    {lines[line - 1].strip()}" if 0 < line <= len(lines) else ""
            return f"{Path(file).name}:{line}", quoted
    return "", ""


def _is_source(launch: Launch, file: str) -> bool:
    own = launch.kernel.source.path.parts
    return Path(file).parts[-len(own) :] == own


def _is_kernels(launch: Launch, place: Place) -> bool:
    file, line = place
    beside = (folder() / "include", launch.kernel.source.path.parent)
    headers = file.endswith((".cuh", ".h")) and Path(file).parent in beside
    return line > 0 and (_is_source(launch, file) or headers)


@cache
def _guard() -> ctypes.CDLL | None:
    """The guarding library; None on systems for which there is none."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return None
    return ctypes.CDLL(str(build_guard()))
