"""What kernels/emulator/watch.cpp is told, and what it says: the same structs, seen from Python."""

from __future__ import annotations

import bisect
import ctypes
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from minidl.cuda.emulator import Packed, call, load
from minidl.cuda.emulator.addresses import Place, line_table
from minidl.cuda.emulator.building import build
from minidl.cuda.emulator.guard import Died, error_of, limit
from minidl.cuda.emulator.guarded import ROOM, Guarded
from minidl.cuda.emulator.text import device_variables
from minidl.cuda.source import Source, folder, whole_text
from minidl.errors import DeviceError, KernelError, message

KINDS = ("race", "overrun", "unwritten", "misaligned", "write to const")
SPACES = ("global", "shared", "")
ACCESSES = ("load", "store", "atomic", "copy")
"""Names for the numbers that watch.cpp gives to mistakes, to memory and to accesses."""

_Three = ctypes.c_int * 3


class Side(ctypes.Structure):
    """One access: who, on which line, how."""

    _fields_ = (
        ("line", ctypes.c_int), ("access", ctypes.c_int), ("size", ctypes.c_int),
        ("thread", _Three), ("block", _Three),
    )


class Found(ctypes.Structure):
    """A mistake. ``number`` counts the arguments or the shared variables; -1: none."""

    _fields_ = (
        ("kind", ctypes.c_int), ("space", ctypes.c_int), ("number", ctypes.c_int),
        ("count", ctypes.c_int), ("offset", ctypes.c_longlong), ("now", Side), ("before", Side),
    )


class Tally(ctypes.Structure):
    """The requests of one place in the machine code."""

    _fields_ = (
        ("line", ctypes.c_int), ("space", ctypes.c_int), ("access", ctypes.c_int),
        ("size", ctypes.c_int), ("requests", ctypes.c_longlong), ("moved", ctypes.c_longlong),
        ("ideal", ctypes.c_longlong),
    )


class Variable(ctypes.Structure):
    """A ``__shared__`` variable; without a name, the dynamic shared memory."""

    _fields_ = (("name", ctypes.c_char_p), ("size", ctypes.c_ulonglong))


@dataclass(frozen=True)
class Seen:
    """What was seen in one launch.

    Attributes
    ----------
    found : list of Found
    tallies : list of Tally
    variables : list of (name, size)
    failure : str
        What ended the launch early; empty if nothing did.
    """

    found: list[Found]
    tallies: list[Tally]
    variables: list[tuple[str, int]]
    failure: str


class Watched:
    """A .cu file, built so that every access is seen."""

    def __init__(self, source: Source, real: str):
        path = build(source, real, "watched")
        self.lock = threading.Lock()
        starts, places = line_table(path)
        if not starts:
            raise DeviceError(
                message(
                    "tracing finds no table of lines in what the compiler made",
                    hint="it is read by pyelftools: pip install 'minidl[kernels]'",
                )
            )
        names = device_variables(whole_text(source))
        self.own, self.variables = _own_memory(path, names)
        ids, self.headers = _numbered(source, places)
        self.lines = source.text.count("\n") + 1
        self.path, self.data = path, path.read_bytes()
        self.code = (ctypes.c_ulonglong * len(starts))(*starts), (ctypes.c_int * len(ids))(*ids)
        self.library = self._loaded()

    def _loaded(self) -> ctypes.CDLL:
        library = load(self.data, self.path.name)
        library.minidl_watch_code(*self.code, len(self.code[0]))
        return library

    def place(self, line: int) -> Place:
        """The file and the line of it that a number means; "" for the .cu file itself."""
        at = line - self.lines - 1
        return self.headers[at] if 0 <= at < len(self.headers) else ("", line)

    def run(self, guarded: Guarded) -> Seen:
        """Compute a launch, its blocks one after the other."""
        with self.lock:
            return self._run(guarded)

    def _run(self, guarded: Guarded) -> Seen:
        library, launch, memory = self.library, guarded.launch, guarded.memory.ctypes.data
        library.minidl_watch_begin(ctypes.c_void_p(memory), ctypes.c_ulonglong(ROOM))
        for number, block in enumerate(guarded.blocks):
            library.minidl_watch_array(
                ctypes.c_void_p(memory + block.offset), ctypes.c_ulonglong(block.size),
                number, block.element, int(block.const),
            )
            if guarded.unwritten and not block.const:
                library.minidl_watch_unwritten(ctypes.c_void_p(memory + block.offset))
        for number, (_, start, size) in enumerate(self.variables, len(guarded.blocks)):
            library.minidl_watch_variable(
                ctypes.c_ulonglong(start), ctypes.c_ulonglong(size), number
            )
        for start, size in self.own:
            library.minidl_watch_own(ctypes.c_ulonglong(start), ctypes.c_ulonglong(size))
        try:
            failure = call(library, launch, Packed(launch), 0, prod(launch.grid), limit())
        except Died as died:
            self.library = self._loaded()  # what has died is read once more, and left
            error = error_of(died, launch, self.path)
            if not isinstance(error, KernelError):
                raise error from None
            failure = str(error).removeprefix(f"{launch.kernel.name}: ")
        return Seen(
            _copies(library.minidl_watch_findings, Found),
            _copies(library.minidl_watch_traffic, Tally),
            [(v.name.decode(), v.size) for v in _copies(library.minidl_watch_variables, Variable)],
            failure,
        )


@cache
def watched(source: Source, real: str) -> Watched:
    """Build and load a file, once."""
    return Watched(source, real)


def _copies(function: Any, kind: Any) -> list[Any]:
    """The structs that one of the library's functions points to."""
    to = ctypes.POINTER(kind)()
    count = function(ctypes.byref(to))
    return [kind.from_buffer_copy(to[i]) for i in range(count)]


def _numbered(source: Source, places: list[Place]) -> tuple[list[int], list[Place]]:
    """A number for each place: 0 if it is not the kernel's own, its line if it is in the .cu file.

    Lines of headers are numbered after those of the file, in the order of the list returned.
    """
    last, headers, known = source.text.count("\n") + 1, [], {}
    own = source.path.parts
    beside = {(folder() / "include").resolve(), source.path.parent.resolve()}
    for place in places:
        if place in known:
            continue
        path = Path(place[0])
        if path.parts[-len(own) :] == own:  # what is before depends on where it was built
            known[place] = place[1]
        elif path.suffix in (".cuh", ".h", ".cu") and path.parent.resolve() in beside:
            headers.append(place)
            known[place] = last + len(headers)
        else:
            known[place] = 0
    return [known[place] for place in places], headers


def _own_memory(
    program: Path, names: list[str]
) -> tuple[list[tuple[int, int]], list[tuple[str, int, int]]]:
    """Where lies what a kernel may touch beside arrays: start and size of constants and the like.

    Its ``__device__`` variables, whose names are given, are returned apart, with their names.
    ``__shared__`` variables are neither: they are noted when a block comes to them.
    """
    from elftools.elf.elffile import ELFFile

    found, variables = [], []
    with program.open("rb") as stream:
        elf = ELFFile(stream)
        for section in elf.iter_sections():
            flags = section["sh_flags"]
            if flags & 2 and not flags & 1:  # takes part in the program, and is not written
                found.append((section["sh_addr"], section["sh_size"]))
        for symbol in _symbols(elf):
            is_object = symbol["st_info"]["type"] == "STT_OBJECT" and symbol["st_size"]
            if not is_object or _is_static_of_a_function(symbol.name):
                continue
            where = symbol["st_value"], symbol["st_size"]
            # In a namespace or static, _ZN5space4nameE, _ZL4name, _ZN12_GLOBAL__N_14nameE.
            name = next((n for n in names if _is_called(symbol.name, n)), "")
            if name:
                variables.append((name, *where))
            else:
                found.append(where)
    return _apart(found), variables


def _is_called(symbol: str, name: str) -> bool:
    return bool(re.fullmatch(rf"(?:_Z.*{len(name)})?{name}E?", symbol))


def _symbols(elf: Any) -> Iterator[Any]:
    yield from elf.get_section_by_name(".symtab").iter_symbols()


def _is_static_of_a_function(name: str) -> bool:
    """Whether a variable is a function's: ``tile.3`` of one that is extern "C", else ``_ZZ...``.

    Shared variables outside of functions count as these.
    """
    return "." in name or name.startswith("_ZZ") or bool(re.search(r"minidl_g\d+_", name))


def _apart(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out the ranges that lie inside of others."""
    kept: list[tuple[int, int]] = []
    starts: list[int] = []
    for start, size in sorted(ranges, key=lambda r: (r[0], -r[1])):
        at = bisect.bisect_right(starts, start) - 1
        if at >= 0 and start + size <= kept[at][0] + kept[at][1]:
            continue
        kept.append((start, size))
        starts.append(start)
    return kept
