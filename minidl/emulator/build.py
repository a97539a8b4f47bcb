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
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from minidl.emulator.text import cpp_text
from minidl.errors import DeviceError, KernelError, message
from minidl.launch import Source, folder, kernels_of
from minidl.nvrtc import cache_folder

FLAGS = (
    "-std=c++20", "-fPIC", "-fno-strict-aliasing", "-fno-math-errno", "-fno-exceptions",
    "-fvisibility=hidden", "-w",
)

MODES = {
    "plain": ("-O2", "-shared", "-DMINIDL_STACK=65536", "-DMINIDL_EXACT=0"),
    # Every access calls watch.cpp. Little optimised, so that one access in the text is one call, and
    # not vectorised, since the compiler would then join accesses that a CUDA thread makes one by one.
    "watched": (
        "-O1", "-g1", "-shared", "-fno-tree-vectorize", "-DMINIDL_WATCHED",
        "-DMINIDL_STACK=131072", "-DMINIDL_EXACT=1",
    ),
    "thread": (
        "-O1", "-g1", "-DMINIDL_ALONE", "-DMINIDL_TSAN",
        "-DMINIDL_STACK=262144", "-DMINIDL_EXACT=1",
    ),
    "address": (
        "-O1", "-g1", "-DMINIDL_ALONE", "-DMINIDL_ASAN",
        "-DMINIDL_STACK=262144", "-DMINIDL_EXACT=1",
    ),
}
"""What each way of running needs: in-process, traced, or under one of the compiler's sanitizers."""

INSTRUMENTED = {"plain": (), "watched": ("-fsanitize=thread",), "thread": ("-fsanitize=thread",),
                "address": ("-fsanitize=address", "-fsanitize-recover=address")}
"""For the kernel alone. The runtime, which changes stacks, is compiled without."""

PARTS = {"plain": ("runtime.cpp",), "watched": ("runtime.cpp", "watch.cpp"),
         "thread": ("runtime.cpp", "alone.cpp"), "address": ("runtime.cpp", "alone.cpp")}
"""What is linked to the kernel: files of kernels/emulator."""


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
            f"looked for {'$CXX = ' + wanted[0] if wanted else 'g++, clang++'} and the package ziglang",
            hint="install g++ or clang++, or pip install 'minidl[compiler]'",
        )
    )


def build(source: Source, real: str, mode: str = "plain") -> Path:
    """The library (or for the sanitizers, the program) of a .cu file, built at most once.

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
def _build(source: Source, real: str, mode: str, command: tuple[str, ...]) -> Path:
    text = cpp_text(source.text, str(source.path), kernels_of(source))
    key = hashlib.sha256()
    for part in (text, real, repr((mode, FLAGS, MODES[mode], INSTRUMENTED[mode], PARTS[mode])),
                 _version(command), platform.machine(), *_texts(source)):
        key.update(part.encode() + b"\0")
    target = cache_folder() / "emulator" / f"{source.path.stem}-{real}-{mode}-{key.hexdigest()[:32]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as work:
            _compile(command, text, source, real, mode, Path(work)).replace(target)
    return target


def _compile(
    command: Sequence[str], text: str, source: Source, real: str, mode: str, work: Path
) -> Path:
    emulator, result = folder() / "emulator", work / "result"
    (work / "kernel.cpp").write_text(text)
    (work / "kernel.hpp").write_text(f'#include "cuda.hpp"\n#define real {real}\n')
    includes = [f"-I{emulator}", f"-I{folder() / 'include'}", f"-I{source.path.parent}"]
    kernel_only: list[str] = []
    shared = [*command, *FLAGS, *(flag for flag in MODES[mode] if flag != "-shared"), *includes]
    if "clang" not in _version(command):  # one object for all copies of a library would be shared memory for all
        shared.append("-fno-gnu-unique")
        if mode == "address":  # else it guards no variable of a template
            kernel_only = ["-fwhole-program"]
    kernel = [*shared, *INSTRUMENTED[mode], *kernel_only, "-include", str(work / "kernel.hpp")]
    _run([*kernel, "-c", str(work / "kernel.cpp"), "-o", str(work / "kernel.o")], source)
    others = []
    for part in PARTS[mode]:
        others.append(str(work / f"{part}.o"))
        _run([*shared, "-c", str(emulator / part), "-o", others[-1]], source)
    linking = ["-shared"] if "-shared" in MODES[mode] else [*INSTRUMENTED[mode], "-rdynamic", "-ldl"]
    _run([*command, str(work / "kernel.o"), *others, *linking, "-o", str(result)], source)
    return result


def _run(command: list[str], source: Source) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = _quoted(done.stderr, source)
        raise KernelError(
            message(
                f"{source.name} does not compile for the emulator ({' '.join(command[:1])})",
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


def _texts(source: Source) -> list[str]:
    """All that the result depends on beside the file: the emulator, and the headers."""
    paths = [*(folder() / "emulator").glob("*.?pp"), *(folder() / "include").glob("*")]
    local = re.findall(r'^\s*#\s*include\s+"([^"]+)"', source.text, re.MULTILINE)
    paths += [source.path.parent / name for name in local]
    return [path.read_text() for path in sorted(set(paths)) if path.is_file()]
