"""Builds a .cu file for the CPU: finds a C++ compiler, keeps what it made on disk."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minidl.cuda.emulator.text import cpp_text
from minidl.cuda.nvrtc import cache_folder
from minidl.cuda.source import Source, folder, kernels_of
from minidl.errors import DeviceError, KernelError, message

FLAGS = (
    "-std=c++20", "-fPIC", "-fno-strict-aliasing", "-fno-math-errno", "-fno-exceptions",
    "-fvisibility=hidden", "-w",
)
"""The compiler's flags, however a kernel is run."""


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
    "plain": Mode(("-O2", "-DMINIDL_EXACT=0")),
    # Every access calls watch.cpp. Little optimised, so that an access in the text is one call, and
    # not vectorised: the compiler would then join accesses that a CUDA thread makes one by one.
    "watched": Mode(
        ("-O1", "-g1", "-fno-tree-vectorize", "-fno-unroll-loops", "-DMINIDL_WATCHED",
         "-DMINIDL_EXACT=1"),
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
    """Build the library (or for the sanitizers, the program) of a .cu file, at most once.

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
        If it does not compile; the message is the compiler's.
    DeviceError
        If there is no compiler.
    """
    return _build(source, real, mode, compiler())


@cache
def _build(source: Source, real: str, name: str, command: tuple[str, ...]) -> Path:
    mode, text = MODES[name], cpp_text(source.text, str(source.path), kernels_of(source))
    key = hashlib.sha256()
    needed = (text, real, repr((FLAGS, mode)), _version(command), platform.machine())
    for part in (*needed, *_texts(source, mode)):
        key.update(part.encode() + b"\0")
    target = _kept() / f"{source.path.stem}-{real}-{name}-{key.hexdigest()[:32]}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as work:
            _compile(command, text, source, real, mode, Path(work)).replace(target)
    return target


@cache
def _kept() -> Path:
    """The folder of what was built; where one cannot write, a passing one."""
    kept = cache_folder() / "emulator"
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=kept):
            return kept
    except OSError:
        return Path(tempfile.mkdtemp(prefix="minidl-emulator-"))


def _compile(
    command: tuple[str, ...], text: str, source: Source, real: str, mode: Mode, work: Path
) -> Path:
    emulator = folder() / "emulator"
    (work / "kernel.cpp").write_text(text)
    (work / "kernel.hpp").write_text(f'#include "cuda.hpp"\n#define real {real}\n')
    includes = [f"-I{emulator}", f"-I{folder() / 'include'}", f"-I{source.path.parent}"]
    shared, alone = [*command, *FLAGS, *mode.flags, *includes], [*mode.instrumented]
    if not clang(command):
        # g++ would unite the static variables of all copies of a library: also shared memory.
        shared.append("-fno-gnu-unique")
        if "-fsanitize=address" in alone:  # else it guards no variable of a template
            alone.append("-fwhole-program")
    alone += ["-include", str(work / "kernel.hpp")]
    objects = []
    for path, flags in ((work / "kernel.cpp", alone), *((emulator / p, []) for p in mode.parts)):
        objects.append(str(work / f"{path.stem}.o"))
        _run([*shared, *flags, "-c", str(path), "-o", objects[-1]], source)
    linking = [*mode.instrumented, "-rdynamic", "-ldl"] if mode.program else ["-shared"]
    _run([*command, *objects, *linking, "-o", str(work / "result")], source)
    return work / "result"


def _run(command: list[str], source: Source) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
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


def _texts(source: Source, mode: Mode) -> list[str]:
    """All that the result depends on beside the file: the emulator, and the headers.

    Where they lie is part of it: by that the table of lines names them, in another checkout too.
    """
    emulator = folder() / "emulator"
    paths = [emulator / part for part in mode.parts]
    paths += [*emulator.glob("*.hpp"), *(folder() / "include").glob("*")]
    local = re.findall(r'^\s*#\s*include\s+"([^"]+)"', source.text, re.MULTILINE)
    paths += [source.path.parent / name for name in local]
    paths = sorted({path.resolve() for path in paths if path.is_file()})
    return [*map(str, paths), *(path.read_text() for path in paths)]
