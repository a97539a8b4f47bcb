"""Builds a .cu file for the emulator, in each of the ways in which it runs kernels."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from minidl.cuda import nvrtc
from minidl.cuda.compiler import (
    clang,
    compiler,
    digest,
    kept,
    kept_library,
    kernel_files,
    run,
    version,
)
from minidl.cuda.emulator.text import cpp_text
from minidl.cuda.source import Source, folder, kernels_of, real_option, whole_text

GOAL = "the emulator"
"""What is built here, in the words of the compiler's errors."""

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
    path = folder() / "emulator" / "guard.cpp"
    return kept_library("emulator", path, ["-U_FORTIFY_SOURCE"], GOAL, platform.machine())


def _build(source: Source, real: str, name: str, command: tuple[str, ...]) -> Path:
    mode, kernels = MODES[name], kernels_of(source)
    text = cpp_text(whole_text(source, paths=True), kernels)
    # Those of minidl were all compiled by it before they were given away.
    asked = "" if source.path.parent == folder() else nvrtc.available()
    needed = (text, *real_option(source, real), repr((FLAGS, mode)), version(command))
    key = digest(*needed, platform.machine(), asked, *_texts(mode))

    def make(work: Path) -> Path:
        result = _compile(command, text, source, real, mode, work)
        if asked:
            _ask_nvrtc(source, real)
        return result

    return kept("emulator", f"{source.path.stem}-{real}-{name}-{key}", make, mode.program)


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
    kernel, words = kernel_files(work, text, source, real)
    includes = [f"-I{emulator}", f"-I{folder() / 'include'}", f"-I{source.path.parent}"]
    shared, alone = [*command, *FLAGS, *mode.flags, *includes], [*mode.instrumented]
    if not clang(command):
        # g++ would unite the static variables of all copies of a library: also shared memory.
        shared.append("-fno-gnu-unique")
        if "-fsanitize=address" in alone:  # else it guards no variable of a template
            alone.append("-fwhole-program")
    alone += words
    objects = []
    for path, flags in ((kernel, alone), *((emulator / p, []) for p in mode.parts)):
        objects.append(str(work / f"{path.stem}.o"))
        run([*shared, *flags, "-c", str(path), "-o", objects[-1]], source, work, GOAL)
    linking = [*mode.instrumented, "-rdynamic", "-ldl"] if mode.program else ["-shared"]
    run([*command, *objects, *linking, "-o", str(work / "result")], source, work, GOAL)
    return work / "result"


def _texts(mode: Mode) -> list[str]:
    """All that a result depends on beside the file's own text: the emulator.

    Where it lies is part of it: by that the table of lines names it, in another checkout too.
    """
    emulator = folder() / "emulator"
    paths = sorted([*(emulator / part for part in mode.parts), *emulator.glob("*.hpp")])
    return [*map(str, paths), *(path.read_text() for path in paths)]
