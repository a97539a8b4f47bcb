"""Compiles CUDA text to machine code, on any machine: no GPU, no driver, no toolkit.

NVRTC is NVIDIA's compiler as a shared library. It comes as a PyPI wheel, and it writes
code for GPUs that this machine does not have, so every kernel can be compiled, and its
registers counted, where it is written. Results are kept on disk; a second call reads
them back.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minidl.cuda.cache import keep, private, recall
from minidl.errors import ArgumentError, DeviceError, KernelError, message

OPTIONS = ("--std=c++17", "--ptxas-options=-v")
"""Options that are always given; the second writes registers and spills into the log."""

_HINT = "pip install 'minidl[kernels]'"
# Below the folder `nvidia`: cu13/lib/ in the wheel for CUDA 13, cuda_nvrtc/lib/ for CUDA 12.
_PLACE = "*/lib/libnvrtc.so.*"
# Options that name files on disk, whose text the key of a kept result would not cover.
_READS_FILES = ("-I", "--include-path", "-include", "--pre-include")


@dataclass(frozen=True)
class Compiled:
    """The machine code that NVRTC made of a text, and what it said.

    Attributes
    ----------
    cubin : bytes
        Machine code for one architecture, as an ELF file.
    log : str
        Warnings, and what each kernel uses; ``minidl.cuda.cubin.resources`` reads it.
    """

    cubin: bytes
    log: str


def compile(source: str, name: str, arch: str = "sm_90", options: Sequence[str] = ()) -> Compiled:
    """Compile CUDA text for one architecture.

    Parameters
    ----------
    source : str
        The text; ``#line`` directives in it are followed.
    name : str
        What messages call the text, where no ``#line`` says otherwise.
    arch : str
        The architecture, such as ``"sm_90"`` or ``"sm_90a"``.
    options : sequence of str
        NVRTC's own, after ``OPTIONS``: ``"-Dreal=double"``, ``"--maxrregcount=64"``. With
        a folder of headers (``-I``) the result is not kept, since they may change.

    Raises
    ------
    KernelError
        If NVRTC refuses the text; the message quotes each line that it names.
    ArgumentError
        If this NVRTC writes no code for ``arch``.
    DeviceError
        If NVRTC is not installed.
    """
    library = _library()
    given = (f"--gpu-architecture={arch}", *OPTIONS, *options)
    known = architectures()
    if re.sub("[af]$", "", arch) not in known:  # sm_90a: sm_90 and what only it can do
        raise ArgumentError(
            message(
                f"nvrtc.compile: NVRTC {_version(library)} writes no code for {arch!r}",
                hint=f"choose one of {', '.join(known)}.",
            )
        )
    if any(option.startswith(_READS_FILES) for option in options):
        return _compile(library, source, name, given)
    key = hashlib.sha256(repr((source, name, given, _version(library))).encode()).hexdigest()
    path = private("cubins", needed=False) / key
    kept = _recall(path)
    if kept is None:
        kept = _compile(library, source, name, given)
        _keep(path, kept)
    return kept


def available() -> str:
    """NVRTC's version, such as ``"13.5"``; empty where it is not installed."""
    try:
        return _version(_library())
    except DeviceError:
        return ""


def architectures() -> tuple[str, ...]:
    """The architectures that this NVRTC writes code for, oldest first: ``"sm_80"``, ...

    Raises
    ------
    DeviceError
        If NVRTC is not installed.
    """
    library, count = _library(), ctypes.c_int()
    _check(library, library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
    numbers = (ctypes.c_int * count.value)()
    _check(library, library.nvrtcGetSupportedArchs(numbers))
    return tuple(f"sm_{number}" for number in sorted(numbers))


# --- the library ---


@cache
def _library() -> ctypes.CDLL:
    """NVRTC, loaded: the newest one that this Python's wheels hold."""
    nvidia = importlib.util.find_spec("nvidia")
    folders = nvidia.submodule_search_locations if nvidia else None
    reasons = []
    for path in _candidates(folders or ()):
        try:
            # NVRTC asks for its builtins by name when it compiles; loaded, they are found.
            for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(builtins))
            library = ctypes.CDLL(str(path))
        except OSError as cause:  # for another kind of machine, or half installed
            reasons.append(str(cause))
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    raise DeviceError(message("NVRTC, which compiles kernels, is not here", *reasons, hint=_HINT))


def _candidates(folders: Iterable[str]) -> list[Path]:
    """The NVRTC libraries below these folders, newest first."""
    found = [path for folder in folders for path in Path(folder).glob(_PLACE)]
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])[::-1]


def _version(library: ctypes.CDLL) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library, library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value}"


def _check(library: ctypes.CDLL, result: int) -> None:
    """Refuse what only a broken library or a lack of memory brings about."""
    if result:
        raise KernelError(f"NVRTC: {library.nvrtcGetErrorString(result).decode()}")


def _compile(library: ctypes.CDLL, source: str, name: str, options: Sequence[str]) -> Compiled:
    program = ctypes.c_void_p()
    text, title = source.encode(), name.encode()
    _check(
        library,
        library.nvrtcCreateProgram(ctypes.byref(program), text, title, 0, None, None),
    )
    try:
        array = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        result = library.nvrtcCompileProgram(program, len(options), array)
        log = _fetch(library, "ProgramLog", program).rstrip(b"\0").decode(errors="replace")
        if result:
            reason = library.nvrtcGetErrorString(result).decode()
            lines = quoted(log, source, name).splitlines() or [reason]
            raise KernelError(
                message(
                    f"{name} does not compile (NVRTC {_version(library)})",
                    *(line for line in lines if line.strip()),
                    f"options: {' '.join(options)}",
                )
            )
        return Compiled(_fetch(library, "CUBIN", program), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _fetch(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    """One of the results that NVRTC hands out by size, then by copy."""
    size = ctypes.c_size_t()
    _check(library, library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(library, library[f"nvrtcGet{what}"](program, buffer))
    return buffer.raw


# --- messages ---

_LINE = re.compile(r'\s*#\s*line\s+(\d+)(?:\s+"(.*)")?')
_NAMED = re.compile(r"(?P<file>\S.*?)\((?P<line>\d+)\): \w")  # conv.cu(12): error: ...
_BESIDE = re.compile(r"at line (?P<line>\d+)(?: of (?P<file>.+))?$")  # detected during ... at line


def quoted(log: str, source: str, name: str) -> str:
    """A log in which every message is followed by the line of the source that it names.

    NVRTC quotes the line of an error itself, but not the lines that led to it, and with
    ``--brief-diagnostics=true`` none.

    Examples
    --------
    >>> text = '#line 7 "norm.cu"\\nint n = 1;\\nint m = l;'
    >>> print(quoted("norm.cu(8): error: l is undefined", text, "text"))
    norm.cu(8): error: l is undefined
      int m = l;
    """
    lines, lay, file = _places(source, name), [], name
    messages = log.splitlines()
    for row, following in zip(messages, [*messages[1:], ""], strict=True):
        lay.append(row)
        found = _NAMED.match(row) or _BESIDE.search(row)
        if found:
            file = found["file"] or file
            line = lines.get((file, int(found["line"])), "")
            if line and following.strip() != line:
                lay.append(f"  {line}")
    return "\n".join(lay)


def _places(source: str, name: str) -> dict[tuple[str, int], str]:
    """Every line of a text, by the file and number that the ``#line`` above gives it."""
    places = {}
    file, number = name, 1
    for line in source.splitlines():
        directive = _LINE.match(line)
        if directive:
            file, number = directive[2] or file, int(directive[1])
        else:
            places[file, number] = line.strip()
            number += 1
    return places


# --- results kept on disk ---


def _recall(path: Path) -> Compiled | None:
    """A kept result; None where there is none, or it is damaged."""
    body = recall(path)
    if body is None:
        return None
    log, _, cubin = body.partition(b"\0")
    return Compiled(cubin, log.decode())


def _keep(path: Path, result: Compiled) -> None:
    """Keep a result: the log, a zero byte, the cubin."""
    with suppress(OSError):  # a full disk is no error
        keep(path, result.log.encode() + b"\0" + result.cubin)
