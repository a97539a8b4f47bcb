"""Runs kernels under the compiler's sanitizers, which look at every access to memory.

    with sanitizing("thread") as findings:
        F.conv2d(x, w)
    assert not findings

ThreadSanitizer ("thread") finds races: it is told of each CUDA thread, and of the barriers and
``__syncwarp`` that order them. It runs the blocks one after the other and takes them as ordered,
so it sees races within a block; tracing (``minidl.cuda.emulator.trace``) sees those between
blocks too. AddressSanitizer ("address") finds accesses beyond an array, in global, shared or a
thread's own memory.

Both are made for whole programs, so each launch runs as one (kernels/emulator/alone.cpp), with
the arguments in memory of their own; what it wrote is copied back.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from math import prod
from pathlib import Path

import numpy as np

from minidl.cuda.compiler import compiler
from minidl.cuda.emulator.building import build
from minidl.cuda.emulator.findings import Finding
from minidl.cuda.emulator.reports import FRAME, Region, failed, findings_of
from minidl.cuda.emulator.text import dynamic_name
from minidl.cuda.launch import executing
from minidl.cuda.prepare import Launch, prepare
from minidl.cuda.source import kernels_of
from minidl.errors import ArgumentError, DeviceError, KernelError, message

# Go on after a report; the exit status tells of the program alone. ThreadSanitizer keeps a
# history of accesses, 32768 << n a thread, in which it looks up the older of two that race.
_OPTIONS = {
    "thread": "history_size={n}:report_thread_leaks=0:atexit_sleep_ms=0:report_signal_unsafe=0",
    "address": "detect_leaks=0:detect_stack_use_after_return=0",
}
_ALWAYS = f'halt_on_error=0:exitcode=0:color=never:stack_trace_format="{FRAME}"'

# What they say at their start when the system put the program where they need the room.
_MISPLACED = ("unexpected memory mapping", "Shadow memory range interleaves")

_NOTHING = 'extern "C" __global__ void nothing(int* x) { x[0] = 1; }'


@contextmanager
def sanitizing(mode: str) -> Iterator[list[Finding]]:
    """Run the launches on NumPy arrays in the block under a sanitizer; yields what it finds.

    Parameters
    ----------
    mode : {"thread", "address"}
        ThreadSanitizer or AddressSanitizer.

    Yields
    ------
    list of Finding
        Grows with each launch. A kernel that stands still, or fails in another way that the
        emulator itself sees, is a finding too.

    Raises
    ------
    DeviceError
        If the sanitizer does not work here; ``available`` says so beforehand.
    ArgumentError
        If there is no such mode.
    """
    missing = available(mode)
    if missing:
        raise DeviceError(message(f"the {mode} sanitizer does not work here", missing))
    findings: list[Finding] = []
    seen = set()

    def run(launch: Launch) -> None:
        for finding in _run(launch, mode):
            if _mistake(finding) not in seen:
                seen.add(_mistake(finding))
                findings.append(finding)

    with executing(run):
        yield findings


@cache
def available(mode: str) -> str:
    """Tell why a sanitizer does not work here; ``""`` if it does. It is tried out, once.

    >>> available("memory")
    Traceback (most recent call last):
        ...
    minidl.errors.ArgumentError: sanitize: no sanitizer is called 'memory'
        Hint: there are thread, address.
    """
    if mode not in _OPTIONS:
        raise ArgumentError(
            message(f"sanitize: no sanitizer is called {mode!r}",
                    hint=f"there are {', '.join(_OPTIONS)}.")
        )
    x = np.zeros(1, np.int32)
    try:
        found = _run(prepare(kernels_of(_NOTHING)["nothing"], 1, 1, 0, {"x": x}), mode)
    except DeviceError as reason:
        return " ".join(str(reason).split())
    except KernelError as reason:
        last = str(reason).splitlines()[1:2]
        return f"{' '.join(compiler())} does not build for it: {' '.join(last).strip()[:200]}"
    return "" if x[0] == 1 and not found else f"a kernel that does nothing is reported: {found}"


def _mistake(finding: Finding) -> tuple[object, ...]:
    """A key that is alike for findings of the same mistake: all but threads and elements."""
    places = frozenset(re.findall(r"[^\s/]+\.cuh?:\d+", finding.text))
    named = re.findall(r"(\w+)\[", finding.text.splitlines()[0])
    return finding.kind, finding.kernel, places, *named


def _run(launch: Launch, mode: str) -> list[Finding]:
    """Run one launch as a program; its outputs come back into the launch's arrays."""
    program = build(launch.kernel.source, launch.real, mode)
    with tempfile.TemporaryDirectory(prefix="minidl-") as name:
        folder = Path(name)
        arrays = _write_job(launch, folder / "job")
        options = _OPTIONS[mode].format(n=4 if prod(launch.block) <= 256 else 2)
        done = _start(program, folder, mode, options)
        print(done.stdout, end="")  # the kernel's own
        failure, regions = _read_map(launch, folder / "map")
        findings = findings_of(launch, done.stderr, regions)
        if failure:
            findings.append(failed(launch, failure))
        if (folder / "result").exists():
            _read_result(arrays, (folder / "result").read_bytes())
        elif not findings:
            raise KernelError(
                message(
                    f"{launch.kernel.name}: the program of the {mode} sanitizer ended early "
                    f"(exit status {done.returncode})",
                    *done.stderr.splitlines()[-10:],
                )
            )
    return findings


def _write_job(launch: Launch, path: Path) -> list[tuple[bool, np.ndarray]]:
    """Write what alone.cpp reads; returns the arrays, and whether the kernel may write them."""
    numbers = (*launch.grid, *launch.block, launch.shared)
    arrays: list[tuple[bool, np.ndarray]] = []
    given: dict[tuple[int, int], tuple[int, int]] = {}  # as argument number i, as array number j
    with path.open("wb") as job:
        job.write(f"{launch.kernel.name} {' '.join(map(str, numbers))}\n".encode())
        pairs = zip(launch.kernel.parameters, launch.values, strict=True)
        for i, (parameter, value) in enumerate(pairs):
            if not isinstance(value, np.ndarray):
                data = value if isinstance(value, bytes) else value.tobytes()
                job.write(f"value {parameter.name} {len(data)}\n".encode() + data)
                continue
            where = (value.ctypes.data, value.nbytes)
            if where in given:  # one array as two arguments
                before, j = given[where]
                job.write(f"same {parameter.name} {before}\n".encode())
                arrays[j] = (arrays[j][0] or not parameter.const, value)
                continue
            given[where] = i, len(arrays)
            arrays.append((not parameter.const, value))
            data = ctypes.string_at(*where)
            job.write(f"array {parameter.name} {len(data)}\n".encode() + data)
    return arrays


def _read_result(arrays: Sequence[tuple[bool, np.ndarray]], data: bytes) -> None:
    at = 0
    for written, array in arrays:
        if written:
            ctypes.memmove(array.ctypes.data, data[at : at + array.nbytes], array.nbytes)
        at += array.nbytes


def _start(
    program: Path, folder: Path, mode: str, options: str
) -> subprocess.CompletedProcess[str]:
    """Run the program; again without random addresses where the sanitizer cannot bear them."""
    variable = {"thread": "TSAN_OPTIONS", "address": "ASAN_OPTIONS"}[mode]
    environment = {**os.environ, variable: f"{_ALWAYS}:{options}"}

    def start(*before: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, str(program), str(folder)], capture_output=True, text=True,
            errors="replace", env=environment, stdin=subprocess.DEVNULL,
        )

    done = start()
    if any(words in done.stderr for words in _MISPLACED) and shutil.which("setarch"):
        done = start("setarch", platform.machine(), "-R")
    if any(words in done.stderr for words in _MISPLACED):
        raise DeviceError(
            message(
                f"the {mode} sanitizer cannot start: the system puts programs where it needs room",
                *done.stderr.splitlines()[:3],
                hint="sysctl vm.mmap_rnd_bits=28 mends it; so does `setarch -R`, where allowed.",
            )
        )
    return done


def _read_map(launch: Launch, path: Path) -> tuple[str, list[Region]]:
    """Read what the emulator says went wrong, and where the arrays lie."""
    text = path.read_text(errors="replace") if path.exists() else ""
    text, _, failure = text.partition("failed\n")
    named = launch.named_arrays()
    regions = []
    for line in text.splitlines():
        kind, name, address, size = line.split()
        element = named[name].itemsize if kind == "array" else 0
        if (kind, name) == ("shared", "(dynamic)"):
            name = dynamic_name(launch.kernel.source.text)
        regions.append(Region(kind, name, int(address), int(size), element))
    return failure.strip(), regions
