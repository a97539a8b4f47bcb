"""The lines of source on which traffic was seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from minidl.commands.kernels.record import Explanation
from minidl.cuda.emulator.trace import Traffic
from minidl.cuda.source import Kernel, folder


@dataclass(frozen=True)
class Line:
    """One line of a file, and what was read and written on it."""

    file: str
    number: int
    text: str
    traffic: list[Traffic] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.number}"

    @property
    def excess(self) -> float:
        """The ratio of what is moved to what would do; 1 is ideal."""
        moved, ideal = sum(t.moved for t in self.traffic), sum(t.ideal for t in self.traffic)
        return moved / ideal if ideal else 1.0


def place(kernel: Kernel) -> str:
    return f"{kernel.source.name}:{kernel.line}"


def lines_of(found: Explanation, kernel: str | None = None) -> list[Line]:
    """The lines with traffic, of one kernel or of all, in the order of the files."""
    rows = [t for name, rows in found.traffic.items() if kernel in (None, name) for t in rows]
    return gathered(rows, found.launches[-1].kernel.source.path)


def gathered(rows: Iterable[Traffic], source: Path) -> list[Line]:
    """Traffic by the line that it is on: the kernels' own file first, then headers."""
    lines: dict[tuple[bool, str, int], Line] = {}
    for t in rows:
        name = Path(t.file).name
        key = (name != source.name, name, t.line)
        if key not in lines:
            text = text_of(name, source)  # a pack in a header counts as the kernels' own file's
            lines[key] = Line(name, t.line, text[t.line - 1] if t.line <= len(text) else "")
        lines[key].traffic.append(t)
    return [lines[key] for key in sorted(lines)]


def text_of(name: str, source: Path) -> list[str]:
    """The lines of a file, which is the kernels' own or a header."""
    path = source if name == source.name else folder() / "include" / name
    return path.read_text(encoding="utf-8").splitlines()
