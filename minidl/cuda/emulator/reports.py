"""Reads what ThreadSanitizer and AddressSanitizer write, and says it in the words of the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minidl.cuda.emulator.addresses import line_at
from minidl.cuda.emulator.findings import Finding
from minidl.cuda.prepare import Launch
from minidl.cuda.source import folder

FRAME = "    #%n %s|%l|%m|%o"
"""The form in which sanitizers write a call: number, file, line, program, address in it."""

_FRAME = re.compile(r"\s+#\d+ (.*)\|(\d*)\|(.*)\|(0x[0-9a-f]+)$")
_RACING = re.compile(
    r"  (?P<before>Previous )?(?:atomic )?(?P<what>read|write) of size (?P<size>\d+) at "
    r"(?P<address>0x[0-9a-f]+) by (?P<thread>.*?)(?: \(mutexes.*\))?:$",
    re.IGNORECASE,
)
_GLOBAL = re.compile(r"Location is global '(?:.*::)?(\w+)'")
_THREAD = re.compile(r"  Thread (T\d+) '(.*?)' ")
_BEYOND = re.compile(r"ERROR: AddressSanitizer: \S+ on (?:unknown )?address (0x[0-9a-f]+)")
_WILD = re.compile(r"ERROR: \w+Sanitizer: SEGV on unknown address (0x[0-9a-f]+)?")
_SIZE = re.compile(r"(READ|WRITE) of size (\d+)|caused by a (READ|WRITE) memory access")
_CUDA_THREAD = re.compile(r"CUDA thread (.*)")
_OWN = re.compile(r"'(\w+)' \(line \d+\) <== Memory access at offset \d+ (\w+)")

FORGOTTEN = "a line that it was too long ago to know"
"""The words for a place that ThreadSanitizer's history of a thread does not reach back to."""

FAR = 1 << 20
"""The bytes from an array beyond which an access has nothing to do with it."""


@dataclass(frozen=True)
class Region:
    """Where an array lies in the program that ran.

    Attributes
    ----------
    kind : {"array", "shared"}
    name : str
    address, size : int
        In bytes.
    element : int
        Bytes of an element; 0 where that is not known, in shared memory.
    """

    kind: str
    name: str
    address: int
    size: int
    element: int

    def element_at(self, address: int, access: int) -> tuple[int, int]:
        """The number of the element at an address, and how many there are.

        Of shared memory, elements are taken to be as large as the access, 8 bytes at most.
        """
        size = self.element or min(max(access, 1), 8)
        return (address - self.address) // size, self.size // size


def findings_of(launch: Launch, text: str, regions: Sequence[Region]) -> list[Finding]:
    """Read the findings in the sanitizers' output, in its order.

    Parameters
    ----------
    launch : Launch
        What ran.
    text : str
        What the program wrote to its standard error.
    regions : sequence of Region
        Where its arrays lay.
    """
    findings: list[Finding] = []
    for report in re.split(r"^={10,}$", text, flags=re.MULTILINE):
        if "ThreadSanitizer: data race" in report:
            findings += _race(launch, report, regions)
        elif _BEYOND.search(report) or _WILD.search(report):
            findings.append(_overrun(launch, report, regions))
    return findings


# --- races ---


def _race(launch: Launch, report: str, regions: Sequence[Region]) -> Iterator[Finding]:
    lines = report.splitlines()
    threads = dict(_THREAD.findall(report))
    accesses = [(found, i) for i, line in enumerate(lines) if (found := _RACING.match(line))]
    places, facts = [], []
    for found, i in accesses:
        place, calls = _place(launch, _calls(lines[i + 1 :]))
        places.append(place)
        verb = {"read": "reads", "write": "writes"}[found["what"].lower()]
        who = f"thread {threads.get(found['thread'].split()[-1])}"
        facts.append(f"{who} {verb} {found['size']} bytes at {place or FORGOTTEN}{calls}")
        facts += _quoted(launch, place)
    known = all(found["thread"].split()[-1] in threads for found, _ in accesses)
    if len(accesses) != 2 or not known:  # the program's main thread, at its beginning or end
        return
    address, size = int(accesses[0][0]["address"], 16), int(accesses[0][0]["size"])
    variable = _GLOBAL.search(report)
    what = _named(address, size, regions) or (variable[1] if variable else "")
    if not what:  # a stack, which a thread has left to the next one
        return
    headline = f"two threads use {what}, and nothing orders them"
    yield Finding("race", launch.kernel.name, places[0], "\n    ".join([headline, *facts]))


def _named(address: int, size: int, regions: Sequence[Region]) -> str:
    for region in regions:
        if region.address <= address < region.address + region.size:
            return f"{region.name}[{region.element_at(address, size)[0]}]"
    return ""


# --- overruns ---


def _overrun(launch: Launch, report: str, regions: Sequence[Region]) -> Finding:
    place, calls = _place(launch, _calls(report.splitlines(), first=True))
    size = _SIZE.search(report)
    verb = "reads" if size and "READ" in (size[1], size[3]) else "writes"
    count = int(size[2]) if size and size[2] else 0
    who = _CUDA_THREAD.search(report)
    found = _BEYOND.search(report)
    address = int(found[1], 16) if found and found[1] else 0
    own = _OWN.search(report)
    where = f"beyond its own array {own[1]}" if own else _beyond(address, count, regions)
    many = f"{count} bytes " if count else ""
    headline = f"thread {who[1] if who else '?'} {verb} {many}{where}"
    facts = [f"at {place}{calls}", *_quoted(launch, place)]
    return Finding("overrun", launch.kernel.name, place, "\n    ".join([headline, *facts]))


def _beyond(address: int, size: int, regions: Sequence[Region]) -> str:
    """Words for where an address lies, seen from the nearest array."""
    if not regions:
        return f"at address {address:#x}"

    def distance(region: Region) -> int:
        return max(region.address - address, address - (region.address + region.size), 0)

    near = min(regions, key=distance)
    if distance(near) > FAR:
        return f"at address {address:#x}, far from every array"
    element, count = near.element_at(address, size)
    if element < 0:
        beyond = f"{near.address - address} bytes before its start"
    else:
        beyond = f"{address - near.address - near.size} bytes beyond its end"
    return f"at {near.name}[{element}], which has {count} elements: {beyond}"


def failed(launch: Launch, text: str) -> Finding:
    """The finding that is made of what the emulator itself says when a kernel cannot go on."""
    kind = "misaligned" if "no multiple of" in text else "barrier"
    faults = "divides an integer|touches memory|more local memory|was stopped|shared.* memory"
    if re.search(faults, text.splitlines()[0]):
        kind = "fault"
    found = re.search(r"(\S+\.cuh?):(\d+)", text) or re.search(r"(.*)\bline (\d+)", text)
    file = launch.kernel.source.name
    line = int(found[2]) if found else launch.kernel.line
    place = f"{found[1]}:{line}" if found and ".cu" in found[1] else f"{file}:{line}"
    headline, *facts = text.splitlines()
    facts += _quoted(launch, place)
    return Finding(kind, launch.kernel.name, place, "\n    ".join([headline, *facts]))


# --- places ---


def _calls(lines: Sequence[str], first: bool = False) -> list[tuple[str, int]]:
    """The file and line of each call on the stack that lines start with, the innermost first."""
    calls = []
    for line in lines:
        found = _FRAME.match(line)
        if found:
            named = found[1] not in ("", "<null>")
            call = (found[1], int(found[2] or 0)) if named else _unnamed(found[3], found[4])
            calls.append(call)
        elif calls or not first:
            break
    return calls


def _unnamed(program: str, offset: str) -> tuple[str, int]:
    """The place of a call that the sanitizer cannot name: llvm-symbolizer is not installed."""
    return line_at(Path(program), int(offset, 16)) if program.startswith("/") else ("", 0)


def _place(launch: Launch, calls: Sequence[tuple[str, int]]) -> tuple[str, str]:
    """The place in the .cu file, such as "conv.cu:123", and the way from there to the access.

    Calls of the emulator, of the sanitizer and of the system's headers are left out.
    """
    source = launch.kernel.source
    own = {str(source.path), str(source.path.absolute())}
    headers = {str(folder() / "include"), str(source.path.parent)}
    lines = [
        (Path(file).name, line)
        for file, line in calls
        if file in own or (str(Path(file).parent) in headers and file.endswith((".cuh", ".h")))
    ]
    if not lines:
        return "", ""
    at = next((i for i, (file, _) in enumerate(lines) if file == source.name), 0)
    inside = "".join(f", in {file}:{line}" for file, line in reversed(lines[:at]))
    return f"{lines[at][0]}:{lines[at][1]}", inside


def _quoted(launch: Launch, place: str) -> list[str]:
    """The line of the launch's own file at a place."""
    file, _, number = place.rpartition(":")
    lines = launch.kernel.source.text.splitlines()
    if file != launch.kernel.source.name or not 0 < int(number) <= len(lines):
        return []
    return [f"    {lines[int(number) - 1].strip()}"]
