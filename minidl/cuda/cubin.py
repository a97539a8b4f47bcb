"""What a compiled kernel asks of a GPU: registers, shared memory, and whether it spills.

These few numbers say how many blocks fit onto a multiprocessor at once. A *spill* is a
register that the compiler had to keep in memory for want of room: slow, and a sign of a
tile that is too large.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from minidl.cuda.nvrtc import Compiled
from minidl.errors import DeviceError, KernelError, message


@dataclass(frozen=True)
class Resources:
    """The registers and the memory that one kernel uses.

    Attributes
    ----------
    registers : int
        Per thread.
    spill_stores, spill_loads : int
        Bytes per thread that instructions write to, and read from, memory in place of
        registers; counted in the code, not in its loops. With the functions it calls.
    shared : int
        Bytes of shared memory per block that the source declares with a size.
    local : int
        Bytes of stack per thread: spills, arrays indexed at run time, calls.
    constant : int
        Bytes of constant memory: the launch's parameters behind a block of the driver's
        own (352 bytes on sm_80, more on later ones), and constants of the code.
    """

    registers: int
    spill_stores: int
    spill_loads: int
    shared: int
    local: int
    constant: int


def resources(compiled: Compiled) -> dict[str, Resources]:
    """Read what each kernel of a cubin uses, by the kernel's name.

    The names and the constant memory are read from the ELF file, the rest from the log,
    where the assembler (ptxas) says it in words; in the file it has no documented place.

    Parameters
    ----------
    compiled : Compiled
        From ``minidl.cuda.nvrtc.compile``.

    Raises
    ------
    KernelError
        If the cubin is not one, or the log says nothing about one of its kernels.
    DeviceError
        If pyelftools is not installed.
    """
    sizes = _section_sizes(compiled.cubin)
    reports = _reports(compiled.log)
    prefix = ".text."  # one such section per kernel
    names = sorted(name.removeprefix(prefix) for name in sizes if name.startswith(prefix))
    missing = [name for name in names if name not in reports]
    if missing:
        raise KernelError(
            message(
                f"cubin.resources: the log says nothing about {', '.join(missing)}",
                hint="compile with --ptxas-options=-v, as minidl.cuda.nvrtc.compile does.",
            )
        )
    return {name: _read(reports[name], _constant(sizes, name)) for name in names}


def _section_sizes(cubin: bytes) -> dict[str, int]:
    """The size of each section of an ELF file, by its name."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError as cause:
        raise DeviceError(
            message("cubin.resources needs pyelftools", hint="pip install 'minidl[kernels]'")
        ) from cause
    try:
        file = ELFFile(io.BytesIO(cubin))
        machine = file["e_machine"]
        sizes = {section.name: section["sh_size"] for section in file.iter_sections()}
    except (ELFError, ValueError, OverflowError) as cause:
        raise KernelError(f"cubin.resources: not a whole ELF file: {cause}") from cause
    if machine != "EM_CUDA":
        raise KernelError(f"cubin.resources: an ELF file for {machine}, not for a GPU")
    return sizes


def _constant(sizes: dict[str, int], kernel: str) -> int:
    section = re.compile(rf"\.nv\.constant\d+\.{re.escape(kernel)}")
    return sum(size for name, size in sizes.items() if section.fullmatch(name))


def _reports(log: str) -> dict[str, str]:
    """The part of ptxas's report on each kernel, and on what it calls, by the kernel's name."""
    parts = re.split(r"Compiling entry function '([^']+)'[^\n]*\n", log)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _read(report: str, constant: int) -> Resources:
    def numbers(pattern: str) -> list[int]:
        return [int(number) for number in re.findall(pattern, report)]

    # Absent numbers are zeros: ptxas does not mention what is not used.
    return Resources(
        registers=sum(numbers(r"Used (\d+) registers")),
        spill_stores=sum(numbers(r"(\d+) bytes spill stores")),
        spill_loads=sum(numbers(r"(\d+) bytes spill loads")),
        shared=sum(numbers(r"(\d+) bytes smem")),
        local=max(numbers(r"(\d+) bytes (?:stack frame|cumulative stack size)"), default=0),
        constant=constant,
    )
