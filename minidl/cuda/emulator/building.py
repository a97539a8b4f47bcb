"""Builds a .cu file for the CPU: finds a C++ compiler, keeps what it made on disk."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minidl.cuda import nvrtc
from minidl.cuda.cache import keep, passing, private, recall
from minidl.cuda.emulator.text import cpp_text
from minidl.cuda.source import Source, folder, kernels_of, real_option, whole_text
from minidl.errors import DeviceError, KernelError, message

FLAGS = (
    "-std=c++20", "-fPIC", "-fno-strict-aliasing", "-fno-math-errno", "-fno-exceptions",
    "-fvisibility=hidden", "-fstack-clash-protection", "-U_FORTIFY_SOURCE", "-w",
)
"""The compiler's flags, however a kernel is run. A stack that is too small always shows."""


@dataclass(frozen=True)
class Mode:
    """All that one way of running a kernel asks of the compiler.

    Attributes
    ----------
    flags : tuple of str
        For the kernel and for the runtime.
    instrumented : tuple of str
        For the kernel alone: the runtime changes stacks, which no sanitizer would understand.
    parts : tuple of str
        The files of kernels/emulator that are linked to it.
    program : bool
        Whether it is a program of its own, and not a library that is loaded here.
    """

    flags: tuple[str, ...]
    instrumented: tuple[str, ...] = ()
    parts: tuple[str, ...] = ("runtime.cpp", "fiber.cpp")
    program: bool = False


_PROGRAM = ("-O1", "-g1", "-DMINIDL_ALONE", "-DMINIDL_EXACT=1")

MODES = {
    "plain": Mode(("-O2", "-g1", "-DMINIDL_EXACT=0")),
    # Every access calls watch.cpp. Little optimised, so that an access in the text is one call, and
    # not vectorised: the compiler would then join accesses that a CUDA thread makes one by one.
    # Nor may it take a float4 apart (SRA): that is one access of 16 bytes.
    "watched": Mode(
        ("-O1", "-g1", "-fno-tree-vectorize", "-fno-unroll-loops", "-fno-tree-sra",
         "-DMINIDL_WATCHED", "-DMINIDL_EXACT=1"),
        instrumented=("-fsanitize=thread",),
        parts=("runtime.cpp", "fiber.cpp", "watch.cpp"),
    ),
    "thread": Mode(
        (*_PROGRAM, "-DMINIDL_TSAN"),
        instrumented=("-fsanitize=thread",),
        parts=("runtime.cpp", "fiber.cpp", "alone.cpp"),
        program=True,
    ),
    "address": Mode(
        (*_PROGRAM, "-DMINIDL_ASAN"),
        instrumented=("-fsanitize=address", "-fsanitize-recover=address"),
        parts=("runtime.cpp", "fiber.cpp", "alone.cpp"),
        program=True,
    ),
}
"""The ways to run a kernel: in this process, traced, or under one of the compiler's sanitizers."""


@cache
def compiler() -> tuple[str, ...]:
    """The command that starts the C++ compiler: $CXX, g++, clang++, or zig's from its wheel.

    Raises
    ------
    DeviceError
        If there is none.
    """
    wanted = os.environ.get("CXX", "").split()
    for command in ([wanted] if wanted else [["g++"], ["clang++"]]):
        if shutil.which(command[0]):
            return tuple(command)
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "c++")
    raise DeviceError(
        message(
            "the emulator needs a C++ compiler, and found none",
            f"looked for {f'$CXX = {wanted[0]}' if wanted else 'g++, clang++'}, and for ziglang",
            hint="install g++ or clang++, or pip install 'minidl[compiler]'",
        )
    )


def clang(command: tuple[str, ...]) -> int:
    """The major version of a compiler that is clang, or built on it; 0 of any other."""
    version = _version(command)
    found = re.search(r"clang version (\d+)", version)
    return int(found[1]) if found else int("clang" in version)


def build(source: Source, real: str, mode: str = "plain") -> Path:
    """Build the library (or for the sanitizers, the program) of a .cu file, unless it is there.

    Parameters
    ----------
    source : Source
        The file.
    real : {"float", "double"}
        What ``real`` means in it.
    mode : {"plain", "watched", "thread", "address"}
        How it will run; see ``MODES``.

    Raises
    ------
    KernelError
        If it does not compile, or NVRTC, where that is installed, refuses it; the message is the
        compiler's.
    DeviceError
        If there is no compiler.
    """
    key = source, real, mode, compiler()
    path = _built.get(key)
    if path is None or not path.is_file():
        path = _built[key] = _build(*key)
    return path


_built: dict[tuple[Source, str, str, tuple[str, ...]], Path] = {}


def build_guard() -> Path:
    """Build kernels/emulator/guard.cpp, the library that survives what kernels do."""
    path, command = folder() / "emulator" / "guard.cpp", compiler()
    name = f"guard-{_digest(path.read_text(), _version(command), platform.machine())}"

    def make(work: Path) -> Path:
        flags = ["-std=c++20", "-fPIC", "-shared", "-O2", "-U_FORTIFY_SOURCE", "-w"]
        result = work / "result"
        _run([*command, *flags, str(path), "-o", str(result), "-pthread"], Source(path, ""), work)
        return result

    return _kept(name, make)


def _build(source: Source, real: str, name: str, command: tuple[str, ...]) -> Path:
    mode, kernels = MODES[name], kernels_of(source)
    text = cpp_text(whole_text(source, paths=True), kernels)
    # Those of minidl were all compiled by it before they were given away.
    asked = "" if source.path.parent == folder() else nvrtc.available()
    needed = (text, *real_option(source, real), repr((FLAGS, mode)), _version(command))
    key = _digest(*needed, platform.machine(), asked, *_texts(mode))

    def make(work: Path) -> Path:
        result = _compile(command, text, source, real, mode, work)
        if asked:
            _ask_nvrtc(source, real)
        return result

    return _kept(f"{source.path.stem}-{real}-{name}-{key}", make, mode.program)


def _kept(name: str, make: Callable[[Path], Path], program: bool = False) -> Path:
    """What ``make`` builds in a folder to work in: kept from the last time, or made now."""
    where = private("emulator")
    if recall(where / name) is not None:
        return where / name
    try:
        with tempfile.TemporaryDirectory(dir=where, prefix="building-") as work:
            body = make(Path(work)).read_bytes()
        keep(where / name, body, program)
    except OSError as cause:
        where = passing(f"cannot write into {where}: {cause.strerror or cause}", "make room there.")
        with tempfile.TemporaryDirectory(dir=where, prefix="building-") as work:
            body = make(Path(work)).read_bytes()
        keep(where / name, body, program)
    return where / name


def _digest(*parts: str) -> str:
    key = hashlib.sha256()
    for part in parts:
        key.update(part.encode() + b"\0")
    return key.hexdigest()[:32]


def _ask_nvrtc(source: Source, real: str) -> None:
    """Refuse what a GPU's compiler would, though the emulator could run it.

    GPUs of sm_80 know all that the emulator does; a newer NVRTC may know only newer ones.
    """
    known = nvrtc.architectures()
    arch = "sm_80" if "sm_80" in known else known[0]
    nvrtc.compile(whole_text(source), source.name, arch, real_option(source, real))


def _compile(
    command: tuple[str, ...], text: str, source: Source, real: str, mode: Mode, work: Path
) -> Path:
    emulator = folder() / "emulator"
    (work / "kernel.cpp").write_text(text)
    includes = [f"-I{emulator}", f"-I{folder() / 'include'}", f"-I{source.path.parent}"]
    shared, alone = [*command, *FLAGS, *mode.flags, *includes], [*mode.instrumented]
    if not clang(command):
        # g++ would unite the static variables of all copies of a library: also shared memory.
        shared.append("-fno-gnu-unique")
        if "-fsanitize=address" in alone:  # else it guards no variable of a template
            alone.append("-fwhole-program")
    # Defined behind CUDA's words: some of the system's headers call something real.
    meaning = [f"#define real {real}\n"] * bool(real_option(source, real))
    (work / "kernel.hpp").write_text("".join(['#include "cuda.hpp"\n', *meaning]))
    alone += ["-include", str(work / "kernel.hpp")]
    objects = []
    for path, flags in ((work / "kernel.cpp", alone), *((emulator / p, []) for p in mode.parts)):
        objects.append(str(work / f"{path.stem}.o"))
        _run([*shared, *flags, "-c", str(path), "-o", objects[-1]], source, work)
    linking = [*mode.instrumented, "-rdynamic", "-ldl"] if mode.program else ["-shared"]
    _run([*command, *objects, *linking, "-o", str(work / "result")], source, work)
    return work / "result"


def _run(command: list[str], source: Source, work: Path) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(work)},  # where there is room, or the build cannot be kept
    )
    if done.returncode:
        if "No space left on device" in done.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        lines, name = _quoted(done.stderr, source), "zig" if "ziglang" in command else command[0]
        raise KernelError(
            message(
                f"{source.name} does not compile for the emulator ({name})",
                *lines[:40],
            )
        )


def _quoted(log: str, source: Source) -> list[str]:
    """The compiler's messages, each with the line that it names: a bare text it cannot quote."""
    lines, text = [], source.text.splitlines()
    messages = [line for line in log.splitlines() if line.strip()]
    for message_, following in zip(messages, [*messages[1:], ""], strict=True):
        lines.append(message_)
        found = re.match(rf"{re.escape(str(source.path))}:(\d+):", message_)
        if found and 0 < int(found[1]) <= len(text) and not re.match(r" +\d+ \|", following):
            lines.append(f"    {text[int(found[1]) - 1].strip()}")
    return lines


@cache
def _version(command: tuple[str, ...]) -> str:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    return done.stdout.strip()


def _texts(mode: Mode) -> list[str]:
    """All that a result depends on beside the file's own text: the emulator.

    Where it lies is part of it: by that the table of lines names it, in another checkout too.
    """
    emulator = folder() / "emulator"
    paths = sorted([*(emulator / part for part in mode.parts), *emulator.glob("*.hpp")])
    return [*map(str, paths), *(path.read_text() for path in paths)]
