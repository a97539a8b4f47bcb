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
from collections.abc import Callable
from functools import cache
from pathlib import Path

from minidl.cuda.cache import keep, passing, private, recall
from minidl.cuda.source import Source
from minidl.errors import DeviceError, KernelError, message


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
