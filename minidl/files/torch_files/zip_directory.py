"""Where the members of a zip archive lie.

An archive ends with a directory: for every member its name, size, checksum and
place. PyTorch stores members as they are, not deflated, so that a place and a
size are all that is needed, and so that no small file can grow into a large one.

    [local header, bytes]*  [directory entry]*  [zip64 end, locator]?  end

Source: PKWARE's APPNOTE.TXT 6.3.3, sections 4.3.7 (local header), 4.3.12 (entry),
4.3.14 to 4.3.16 (ends) and 4.5.3 (the zip64 field); from memory.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from minidl.files.torch_files.bounded import BoundedFile
from minidl.files.torch_files.refusal import refuse

MAX_MEMBERS = 100_000
"""Most members of an archive."""

_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_IN_ZIP64 = 0xFFFFFFFF
"""The value of a 32-bit field whose number stands in the zip64 field."""


class Member(NamedTuple):
    """One file of an archive."""

    start: int
    """The place in the archive where its bytes begin."""
    size: int
    """Number of its bytes."""
    crc: int
    """CRC-32 of its bytes."""

    def check(self, data: object) -> None:
        """Refuse bytes that do not have the member's checksum."""
        if zlib.crc32(data) != self.crc:  # type: ignore[arg-type]
            refuse("damaged: a member's bytes do not match its CRC-32")


def members(file: BoundedFile) -> dict[str, Member]:
    """Read where the members of an archive lie, by name."""
    count, size, start = _where(file)
    if count > MAX_MEMBERS or count * _ENTRY.size > size:
        refuse(f"its zip directory claims {count} members")
    directory = file.read(start, size)
    found: dict[str, Member] = {}
    at = 0
    for _ in range(count):
        name, member, at = _entry(file, directory, at)
        if name in found:
            refuse(f"its zip directory has {name!a} twice")
        found[name] = member
    return found


def _where(file: BoundedFile) -> tuple[int, int, int]:
    """Find the directory: its number of entries, its size and its place."""
    # The end is the last thing in the archive but for a comment of up to 65,535 bytes.
    tail_start = max(0, file.size - _END.size - 0xFFFF)
    tail = file.read_up_to(tail_start, _END.size + 0xFFFF)
    at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
    if at < 0:
        refuse("truncated: a zip archive without its directory")
    *_, count, size, start, _ = _END.unpack_from(tail, at)
    locator = tail_start + at - _LOCATOR.size
    if locator >= 0 and file.read(locator, 4) == b"PK\6\7":
        _, _, place, _ = _LOCATOR.unpack(file.read(locator, _LOCATOR.size))
        mark, *_, count, size, start = _END_64.unpack(file.read(place, _END_64.size))
        if mark != b"PK\6\6":
            refuse("damaged: its zip64 directory is not where it should be")
    return count, size, start


def _entry(file: BoundedFile, directory: bytes, at: int) -> tuple[str, Member, int]:
    """Read an entry: its name, its member, and the place of the next entry."""
    if at + _ENTRY.size > len(directory):
        refuse("damaged: its zip directory is cut off")
    mark, _, _, flags, method, _, _, crc, packed, size, *rest = _ENTRY.unpack_from(directory, at)
    name_size, extra_size, comment_size, *_, header = rest
    names = at + _ENTRY.size
    extras = names + name_size
    end = extras + extra_size + comment_size
    if mark != b"PK\1\2" or end > len(directory):
        refuse("damaged: its zip directory is cut off")
    name = directory[names:extras].decode("utf-8", "replace")
    if flags & 1 or method != 0:
        refuse(f"{name!a} is packed or encrypted, which PyTorch does not do")
    wide = [size, packed, header]
    size, packed, header = _widened(wide, directory[extras : extras + extra_size])
    if size != packed:
        refuse(f"damaged: {name!a} has two sizes")
    return name, Member(_body(file, header, size), size, crc), end


def _widened(values: list[int], extra: bytes) -> list[int]:
    """Replace the values that did not fit into 32 bits by those of the zip64 field."""
    if _IN_ZIP64 not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + size]
            numbers = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            return [next(numbers, v) if v == _IN_ZIP64 else v for v in values]
        at += 4 + size
    return values


def _body(file: BoundedFile, header: int, size: int) -> int:
    """Find a member's bytes, which begin behind a header with a name and padding."""
    mark, *_, name_size, extra_size = _LOCAL.unpack(file.read(header, _LOCAL.size))
    if mark != b"PK\3\4":
        refuse("damaged: its zip directory names a place where no member is")
    start = header + _LOCAL.size + name_size + extra_size
    file.check(start, size)
    return start
