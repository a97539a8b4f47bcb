"""What a .cu file says of itself: the formula, the letters, and the ladder with its ideas.

The comment at the top of a file ends in a table, from which everything that names a rung's
idea takes it, and into whose last column measurements are written:

    // rung             idea it adds                            measured
    // v1_naive         the formula, one thread per output      not yet

Where a file holds several ops, a row may name the one that it is about: ``pick v1_naive``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from minidl.cuda.ladder import Rung
from minidl.cuda.source import Kernel, shipped
from minidl.errors import ArgumentError, KernelError, message
from minidl.files.whole import replacing

_COLUMNS = re.compile(r"// (rung +)(idea it adds +)measured$")


@dataclass(frozen=True)
class Row:
    """One line of the ladder's table."""

    rung: str
    idea: str
    measured: str
    line: int

    def is_of(self, rung: Rung) -> bool:
        """Whether this is the row of a rung; of several ops' rungs, where they share it."""
        *about, tail = self.rung.split()
        return rung.name == f"{rung.op}_{tail}" and set(about) <= set(rung.op.split("_"))


@dataclass(frozen=True)
class Header:
    """The comment at the top of a .cu file.

    Attributes
    ----------
    title : str
        The first line.
    about : str
        What follows, up to the table: formulas, which are indented, and prose.
    rows : tuple of Row
    """

    title: str
    about: str
    rows: tuple[Row, ...]

    def row(self, rung: Rung) -> Row:
        """The row of a rung.

        Raises
        ------
        KernelError
            If the table has none, or more than one.
        """
        found = [row for row in self.rows if row.is_of(rung)]
        if len(found) != 1:
            raise KernelError(
                message(
                    f"the table of {path_of(rung).name} has {len(found)} rows for {rung.name}",
                    *(f"it has a row {row.rung}" for row in self.rows),
                )
            )
        return found[0]


def path_of(rung: Rung) -> Path:
    """The .cu file that a rung's kernel is in."""
    return shipped()[rung.name].source.path


@lru_cache(maxsize=64)
def header_of(path: Path) -> Header:
    """Read the comment at the top of a .cu file.

    Raises
    ------
    KernelError
        If there is no table in it.
    """
    return parse(path.read_text(encoding="utf-8"), path.name)


def parse(text: str, name: str) -> Header:
    """Read the comment at the top of a .cu file's text."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("//"):
            break
        lines.append(line)
    start, widths = _table(lines, name)
    ends = widths[0], widths[0] + widths[1]
    rows = []
    for number, line in enumerate(lines[start + 1 :], start + 2):
        told = line[3:]
        rung, idea, measured = told[: ends[0]], told[ends[0] : ends[1]], told[ends[1] :]
        rows.append(Row(rung.strip(), idea.strip(), measured.strip(), number))
    about = "\n".join(line[3:] for line in lines[1:start]).strip("\n")
    return Header(lines[0][3:], about, tuple(row for row in rows if row.idea))


def _table(lines: list[str], name: str) -> tuple[int, tuple[int, int]]:
    """The index of the line that heads the table, and the widths of its first two columns."""
    for number, line in enumerate(lines):
        found = _COLUMNS.match(line)
        if found:
            return number, (len(found[1]), len(found[2]))
    raise KernelError(
        message(
            f"{name} has no table of its ladder",
            hint="the comment at the top ends in lines headed `// rung   idea it adds   measured`.",
        )
    )


def idea(rung: Rung) -> str:
    """The one idea that a rung adds."""
    return header_of(path_of(rung)).row(rung).idea


def changes(kernels: Iterable[Kernel]) -> str:
    """What the comments above a rung's kernels say it changes; empty for the first rung."""
    told = dict.fromkeys(_above(kernel) for kernel in kernels)
    parts = [t for t in told if t.startswith(("Changes: ", "... "))]
    return " ".join(parts).removeprefix("Changes: ").replace("... ...", "...")


def _above(kernel: Kernel) -> str:
    lines = kernel.source.text.splitlines()
    first = kernel.line - 1
    while first > 0 and re.match(r"// (?!-{10})", lines[first - 1]):
        first -= 1
    return " ".join(line[3:].strip() for line in lines[first : kernel.line - 1])


def paragraphs(about: str) -> list[tuple[str, str]]:
    """The parts of a header: ``"formula"`` where indented, else ``"prose"``."""
    parts = []
    for block in re.split(r"\n\s*\n", about):
        indented = block.startswith("    ")
        text = block if indented else " ".join(block.split())
        parts.append(("formula" if indented else "prose", text))
    return parts


# --- measurements ---


def write_measured(path: Path, measured: Mapping[str, str]) -> None:
    """Write into the last column of a file's table; nothing else changes.

    Parameters
    ----------
    path : Path
        Of the .cu file.
    measured : mapping
        What to write for each row, by its first column: ``{"v1_naive": "9.1 ms, H100"}``.

    Raises
    ------
    ArgumentError
        If the table has no such row.
    """
    text = path.read_text(encoding="utf-8")
    rows = {row.rung: row for row in parse(text, path.name).rows}
    unknown = [rung for rung in measured if rung not in rows]
    if unknown:
        raise ArgumentError(
            message(
                f"write_measured: {path.name} has no row {unknown[0]!r}",
                hint=f"it has {', '.join(rows)}.",
            )
        )
    lines = text.splitlines(keepends=True)
    _, widths = _table([line.rstrip() for line in lines], path.name)
    column = 3 + sum(widths)
    for rung, told in measured.items():
        number = rows[rung].line - 1
        lines[number] = f"{lines[number].rstrip()[:column]:<{column}}{told}\n"
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    header_of.cache_clear()
