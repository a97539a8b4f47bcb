"""Finds the line of text that an address in a built program was made from."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from pathlib import Path
from typing import Any

Place = tuple[str, int]
"""A file, and a line in it."""


@cache
def line_table(program: Path) -> tuple[list[int], list[Place]]:
    """Read the addresses at which each line's code starts, in ascending order, and the lines.

    Compilers write this table (DWARF, ``-g1``) into the program; pyelftools reads it. Both lists
    are empty where pyelftools is not installed.
    """
    try:
        from elftools.elf.elffile import ELFFile
    except ImportError:
        return [], []
    with program.open("rb") as stream:
        dwarf = ELFFile(stream).get_dwarf_info()
        rows = sorted(
            (row for unit in dwarf.iter_CUs() for row in _rows(dwarf.line_program_for_CU(unit))),
            key=lambda row: row[0],
        )
    return [address for address, _ in rows], [place for _, place in rows]


def line_at(program: Path, address: int) -> Place:
    """The line whose code an address belongs to; ("", 0) where there is none."""
    starts, places = line_table(program)
    at = bisect_right(starts, address) - 1
    return places[at] if at >= 0 else ("", 0)


def _rows(table: Any) -> list[tuple[int, Place]]:
    """The rows of one part of the table; where a stretch of code ends, the place ("", 0)."""
    if table is None:
        return []
    header, rows = table.header, []
    for entry in table.get_entries():
        if entry.state is not None:
            place = ("", 0) if entry.state.end_sequence else _place(header, entry.state)
            rows.append((entry.state.address, place))
    return rows


def _place(header: Any, state: Any) -> Place:
    """The file and line of one row. Files and folders count from 1, since DWARF 5 from 0."""
    first = 0 if header.version >= 5 else 1
    entry = header.file_entry[state.file - first]
    name, folder = entry.name.decode(), entry.dir_index
    if name.startswith("/") or (first and not folder):
        return name, state.line
    return f"{header.include_directory[folder - first].decode()}/{name}", state.line
