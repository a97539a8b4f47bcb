"""Builds a .cu file for this CPU, as fast as the compiler can make it, and keeps it on disk."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from minidl.cuda.compiler import compiler, digest, kept, kept_library, kernel_files, run, version
from minidl.cuda.emulator.text import cpp_text
from minidl.cuda.native.text import meetings
from minidl.cuda.source import Kernel, Source, folder, kernels_of, real_option, whole_text
from minidl.errors import KernelError, message

GOAL = "this CPU"
"""What is built here, in the words of the compiler's errors."""

FLAGS = (
    "-std=c++20", "-O3", "-march=native", "-ffp-contract=fast", "-fno-trapping-math",
    "-fno-math-errno", "-fno-strict-aliasing", "-fno-exceptions", "-fPIC", "-fvisibility=hidden",
    "-ftls-model=initial-exec", "-U_FORTIFY_SOURCE", "-w",
)
"""The compiler's flags. Sums keep the order in which they are written: no -ffast-math."""


def build(source: Source, real: str) -> Path:
    """Build the library of a .cu file, unless it is there.

    Parameters
    ----------
    source : Source
        The file.
    real : {"float", "double"}
        What ``real`` means in it.

    Kernels whose threads meet (at a barrier, say) are left empty: see ``refuse_meetings``.

    Raises
    ------
    KernelError
        If it does not compile, or functions outside of kernels make threads meet.
    DeviceError
        If there is no compiler.
    """
    bare, met = _met(source)
    if "" in met:
        raise _refused(source.name, met[""])
    text = cpp_text(bare, kernels_of(source))
    command, native = compiler(), folder() / "native"
    flags = [*FLAGS, *_vector_flags(command)]
    header = (native / "cuda.hpp").read_text()
    machine = version(command), _cpu(command)
    key = digest(text, header, *real_option(source, real), repr(flags), *machine)

    def make(work: Path) -> Path:
        begun = time.monotonic()
        kernel, words = kernel_files(work, text, source, real)
        built = ["-shared", str(kernel), "-o", str(work / "result")]
        run([*command, *flags, f"-I{native}", *words, *built], source, work, GOAL)
        took = time.monotonic() - begun
        print(f"minidl: built {source.name} for this CPU, once, in {took:.1f} s", file=sys.stderr)
        return work / "result"

    return kept("native", f"{source.path.stem}-{real}-{key}", make)


def refuse_meetings(kernel: Kernel) -> None:
    """Raise a KernelError if threads of a kernel meet: it would not compute what it says."""
    met = _met(kernel.source)[1]
    if kernel.name in met:
        raise _refused(kernel.name, met[kernel.name])


@cache
def _met(source: Source) -> tuple[str, dict[str, str]]:
    """The text of a file without the kernels whose threads meet, and what they meet by."""
    return meetings(whole_text(source, paths=True))


def _refused(name: str, word: str) -> KernelError:
    return KernelError(
        message(
            f"{name} cannot run natively: its threads meet, by {word}",
            hint="natively threads run one after another; use_kernels('emulated') runs it.",
        )
    )


def build_pool() -> Path:
    """Build kernels/native/pool.cpp, the threads that share a launch's blocks."""
    path = folder() / "native" / "pool.cpp"
    return kept_library("native", path, ["-fvisibility=hidden"], GOAL, _cpu(compiler()))


@cache
def _cpu(command: tuple[str, ...]) -> str:
    """All that the compiler knows of this CPU: another one's code could end this process."""
    asked = [*command, "-march=native", "-dM", "-E", "-x", "c++", "/dev/null"]
    done = subprocess.run(asked, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout


@cache
def _vector_flags(command: tuple[str, ...]) -> tuple[str, ...]:
    """Ask for the widest registers, where the compiler would rather take half of them."""
    return ("-mprefer-vector-width=512",) if "__AVX512F__" in _cpu(command) else ()
