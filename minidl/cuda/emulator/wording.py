"""Says what was found while a kernel ran, in its own words: lines, threads, arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from minidl.cuda.emulator.findings import Finding
from minidl.cuda.emulator.guarded import Guarded
from minidl.cuda.emulator.text import dynamic_name
from minidl.cuda.emulator.watching import ACCESSES, KINDS, SPACES, Found, Seen, Side, Watched

_VERBS = {"load": "reads", "store": "writes", "atomic": "changes, atomically,",
          "copy": "starts to copy"}


@dataclass(frozen=True)
class Counted:
    """A finding, and how often it was seen."""

    finding: Finding
    key: tuple[object, ...]
    count: int

    def __add__(self, other: Counted) -> Counted:
        return replace(self, count=self.count + other.count)

    def told(self) -> Finding:
        """The finding, with the count in its text."""
        if self.count == 1:
            return self.finding
        return replace(self.finding, text=f"{self.finding.text}\n    (seen {self.count} times)")


class Wording:
    """The words for one launch."""

    def __init__(self, watched: Watched, guarded: Guarded, seen: Seen):
        self.watched, self.guarded, self.seen = watched, guarded, seen
        self.launch = guarded.launch

    def counted(self, found: Found) -> Counted:
        """A finding in words; its key is alike for the same mistake elsewhere in the array."""
        kind, place = KINDS[found.kind], self.place(found.now.line)
        lines = self._race(found) if kind == "race" else self._single(kind, found)
        finding = Finding(kind, self.launch.kernel.name, place, "\n    ".join(lines))
        places = frozenset((found.now.line, found.before.line))
        key = (kind, self.launch.kernel.name, places, self._array(found)[0])
        return Counted(finding, key, found.count)

    def place(self, line: int) -> str:
        """The name of the place that a line number means, such as "conv.cu:123"."""
        file, number = self.watched.place(line)
        return f"{Path(file).name if file else self.launch.kernel.source.name}:{number}"

    def quoted(self, line: int) -> str:
        """The text of the line that a line number means."""
        file, number = self.watched.place(line)
        text = Path(file).read_text() if file else self.launch.kernel.source.text
        lines = text.splitlines()
        return f"    {lines[number - 1].strip()}" if 0 < number <= len(lines) else ""

    # --- each kind ---

    def _race(self, found: Found) -> list[str]:
        now, before = found.now, found.before
        first, second = f"thread {_three(before.thread)}", f"thread {_three(now.thread)}"
        if list(now.block) != list(before.block):
            first += f" of block {_three(before.block)}"
            second += f" of block {_three(now.block)}"
            why = "blocks are never ordered within a launch"
        else:
            second += f", both of block {_three(now.block)},"
            same = self._warp(now) == self._warp(before)
            why = f"no __syncthreads(){' or __syncwarp()' if same else ''} orders them"
        return [
            f"two threads use {self._element(found)}, and {why}",
            f"{first} {_verb(before)} it at {self.place(before.line)}", self.quoted(before.line),
            f"{second} {_verb(now)} it at {self.place(now.line)}", self.quoted(now.line),
        ]

    def _single(self, kind: str, found: Found) -> list[str]:
        now, name = found.now, self._array(found)[0]
        does = f"thread {_three(now.thread)} of block {_three(now.block)} {_verb(now)}"
        does += f" {now.size} byte{'s' * (now.size > 1)}"
        if kind == "overrun":
            headline = f"{does} {self._beyond(found)}"
        elif kind == "unwritten":
            who = "nobody" if SPACES[found.space] == "global" else "nobody in this block"
            headline = f"{does} at {self._element(found)}, which {who} has written"
        elif kind == "misaligned":
            headline = f"{does} at an address that is no multiple of {now.size}"
            headline += f", {self._element(found)}" * (found.number >= 0)
        else:
            headline = f"{does} at {self._element(found)}, but {name} is declared const"
        return [headline, f"at {self.place(now.line)}", self.quoted(now.line)]

    def _beyond(self, found: Found) -> str:
        name, size, element = self._array(found)
        if not name:
            return f"at address {found.offset:#x}, far from every array"
        count = size // element
        if found.offset < 0:
            beyond = f"{-found.offset} bytes before its start"
        else:
            beyond = f"{found.offset + found.now.size - size} bytes beyond its end"
        return f"at {self._element(found)}, which has {count} elements: {beyond}"

    # --- names ---

    def _array(self, found: Found) -> tuple[str, int, int]:
        """An array's name, its bytes, and an element's: of shared memory, those accessed."""
        if found.number < 0:
            return "", 0, 1
        beyond = found.number - len(self.guarded.blocks)
        if SPACES[found.space] == "global" and beyond >= 0:
            name, _, size = self.watched.variables[beyond]
            return name, size, max(1, min(found.now.size, 4))
        if SPACES[found.space] == "global":
            block = self.guarded.blocks[found.number]
            return block.name(self.launch), block.size, block.element
        name, size = self.seen.variables[found.number]
        name = name or dynamic_name(self.launch.kernel.source.text)
        return name, size, max(1, min(found.now.size, 4))

    def _element(self, found: Found) -> str:
        name, _, element = self._array(found)
        return f"{name}[{found.offset // element}]"

    def _warp(self, side: Side) -> int:
        x, y, _ = self.launch.block
        return (side.thread[0] + x * (side.thread[1] + y * side.thread[2])) // 32


def is_explained(failure: str) -> bool:
    """Whether what ended a launch is among its findings."""
    return bool(re.search(r"touches (memory that is not|16 bytes)", failure))


def _verb(side: Side) -> str:
    return _VERBS[ACCESSES[side.access]]


def _three(index: Iterable[int]) -> str:
    return str(tuple(index))
