"""The C++ compiler of this machine: which it is, what it says, and what it made, kept on disk.

The emulator and the native code are both built by it, each with flags of its own.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from minidl.cuda.cache import keep, passing, private, recall
from minidl.cuda.source import Source, real_option
from minidl.errors import DeviceError, KernelError, message

LIBRARY = ("-std=c++20", "-fPIC", "-shared", "-O2", "-w")
"""The compiler's flags for a library that holds no kernels."""


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
            "a C++ compiler is needed, and none was found",
            f"looked for {f'$CXX = {wanted[0]}' if wanted else 'g++, clang++'}, and for ziglang",
            hint="install g++ or clang++, or pip install 'minidl[compiler]'",
        )
    )


def clang(command: tuple[str, ...]) -> int:
    """The major version of a compiler that is clang, or built on it; 0 of any other."""
    said = version(command)
    found = re.search(r"clang version (\d+)", said)
    return int(found[1]) if found else int("clang" in said)


@cache
def version(command: tuple[str, ...]) -> str:
    """What a compiler says about itself."""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    return done.stdout.strip()


def kept(folder: str, name: str, make: Callable[[Path], Path], program: bool = False) -> Path:
    """What ``make`` builds in a folder to work in: kept from the last time, or made now.

    It lies in the folder ``folder`` of the cache.
    """
    where = private(folder)
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


def digest(*parts: str) -> str:
    """A short name for all that a result depends on."""
    key = hashlib.sha256()
    for part in parts:
        key.update(part.encode() + b"\0")
    return key.hexdigest()[:32]


def kernel_files(work: Path, text: str, source: Source, real: str) -> tuple[Path, list[str]]:
    """Write a kernel's C++ text into a folder to work in; its path, and how to include its words.

    The words are those of the ``cuda.hpp`` that the compiler is told to find.
    """
    path, words = work / "kernel.cpp", work / "kernel.hpp"
    path.write_text(text)
    # Defined behind CUDA's words: some of the system's headers call something real.
    meaning = [f"#define real {real}\n"] * bool(real_option(source, real))
    words.write_text("".join(['#include "cuda.hpp"\n', *meaning]))
    return path, ["-include", str(words)]


def kept_library(folder: str, path: Path, flags: Sequence[str], goal: str, machine: str) -> Path:
    """Build the library of a .cpp file of its own for ``machine``, unless it is there."""
    command = compiler()

    def make(work: Path) -> Path:
        built = [*command, *LIBRARY, *flags, str(path), "-o", str(work / "result"), "-pthread"]
        run(built, Source(path, ""), work, goal)
        return work / "result"

    key = digest(path.read_text(), repr(flags), version(command), machine)
    return kept(folder, f"{path.stem}-{key}", make)


def run(command: list[str], source: Source, work: Path, goal: str) -> None:
    """Run the compiler on what was made of a source, for ``goal``, in a folder to work in.

    Raises
    ------
    KernelError
        If it refuses; the message is the compiler's.
    OSError
        If there is no room.
    """
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
                f"{source.name} does not compile for {goal} ({name})",
                *lines[:40],
            )
        )


def _quoted(log: str, source: Source) -> list[str]:
    """The compiler's messages, each with the line that it names: a bare text it cannot quote."""
    lines, text = [], source.text.splitlines()
    messages = [line for line in log.splitlines() if line.strip()]
    for message_, following in zip(messages, [*messages[1:], ""], strict=False):
        lines.append(message_)
        found = re.match(rf"{re.escape(str(source.path))}:(\d+):", message_)
        if found and 0 < int(found[1]) <= len(text) and not re.match(r" +\d+ \|", following):
            lines.append(f"    {text[int(found[1]) - 1].strip()}")
    return lines
