"""Traces kernels: looks at every access that they make to memory, on the CPU.

    with tracing() as trace:
        F.conv2d(x, w)               # inside minidl.use_kernels("emulated")
    trace.raise_findings()
    print(trace.table())

Findings are what is wrong: races, also between blocks; accesses beyond an array; reads of shared
memory that nobody wrote; accesses that a GPU refuses. They do not depend on luck: a race is found
where nothing orders two accesses, whether or not the result came out right.

Traffic is what the accesses cost. A warp's lanes make a request together, and for each line of
source it is counted how much a request moves against how much would do:

    global   sectors of 32 bytes; ideal: as few as can hold the bytes that are asked for
    shared   wavefronts, in which each of 32 banks serves one word; ideal: without conflicts

The emulator compiles the kernel for ThreadSanitizer but answers its calls itself, in this process
(kernels/emulator/watch.cpp); launches run on one core, at tens of millions of accesses a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from minidl.cuda.emulator.findings import Finding
from minidl.cuda.emulator.guarded import Guarded
from minidl.cuda.emulator.reports import failed
from minidl.cuda.emulator.watching import ACCESSES, SPACES, watched
from minidl.cuda.emulator.wording import Counted, Wording, is_explained
from minidl.cuda.launch import executing
from minidl.cuda.prepare import Launch
from minidl.errors import KernelError, message


@dataclass(frozen=True)
class Traffic:
    """What one kind of access on one line cost, over all launches of a kernel.

    Attributes
    ----------
    file : str
    line : int
    space : {"global", "shared"}
    access : {"load", "store", "atomic"}
    size : int
        Bytes that each lane asks for.
    requests : int
        Of warps.
    moved, ideal : int
        Sectors or wavefronts of all requests together.
    """

    file: str
    line: int
    space: str
    access: str
    size: int
    requests: int
    moved: int
    ideal: int

    @property
    def moved_each(self) -> float:
        """Sectors or wavefronts of a request, on average."""
        return self.moved / self.requests

    @property
    def ideal_each(self) -> float:
        """Sectors or wavefronts of a request, on average, if nothing were wasted."""
        return self.ideal / self.requests

    def __str__(self) -> str:
        unit = "sectors" if self.space == "global" else "wavefronts"
        return (
            f"{self.file}:{self.line} {self.space} {self.access} {self.size}B, "
            f"{self.requests} requests, {self.moved_each:.2f} {unit} moved, "
            f"{self.ideal_each:.2f} ideal"
        )


@dataclass
class Trace:
    """What was seen while a ``tracing`` block ran.

    Attributes
    ----------
    launches : list of (str, tuple, tuple, int)
        Kernel, grid, block and bytes of dynamic shared memory of each.
    findings : list of Finding
        Races first. The same mistake is there once, with a count in its text.
    traffic : dict
        By kernel, a list of Traffic in the order of the lines.
    """

    launches: list[tuple[str, tuple[int, int, int], tuple[int, int, int], int]] = field(
        default_factory=list
    )
    findings: list[Finding] = field(default_factory=list)
    traffic: dict[str, list[Traffic]] = field(default_factory=dict)

    def raise_findings(self) -> None:
        """Raise a KernelError that tells all findings, if there are any."""
        if self.findings:
            first = self.findings[0]
            told = [f"{f.kernel}: {f.kind} at {f.place}\n{f.text}" for f in self.findings]
            raise KernelError(
                message(
                    f"{first.kernel} is wrong: {len(told)} finding{'s' * (len(told) > 1)}",
                    *(line for text in told for line in text.splitlines()),
                )
            )

    def table(self) -> str:
        """The traffic, a line of text for each access in each kernel."""
        lines = []
        for kernel, rows in self.traffic.items():
            lines += [kernel, *(f"    {row}" for row in rows)]
        return "\n".join(lines)


@contextmanager
def tracing(max_findings: int = 20, unwritten: bool = False) -> Iterator[Trace]:
    """Trace all launches on NumPy arrays in a ``with`` block; yields what is seen.

    Parameters
    ----------
    max_findings : int
        Different ones that are kept; what else is found is not told.
    unwritten : bool
        Whether arrays that a kernel writes count as not written before it, as they are where they
        come from ``empty``: it is then a finding if it reads what no thread has written.

    Raises
    ------
    KernelError
        Inside, if a kernel does not compile. One that is wrong is a finding.
    DeviceError
        Inside, if there is no C++ compiler, or pyelftools is not installed.
    """
    trace = Trace()
    mistakes: dict[tuple[object, ...], Counted] = {}

    def run(launch: Launch) -> None:
        found, traffic = _run(launch, unwritten)
        name = launch.kernel.name
        trace.launches.append((name, launch.grid, launch.block, launch.shared))
        for mistake in found:
            if mistake.key in mistakes:
                mistakes[mistake.key] += mistake
            elif len(mistakes) < max_findings:
                mistakes[mistake.key] = mistake
        # A race may show as a read of what nobody wrote, too; the race is what is to be mended.
        told = [mistake.told() for mistake in mistakes.values()]
        trace.findings[:] = sorted(told, key=lambda finding: finding.kind != "race")
        trace.traffic[name] = _summed([*trace.traffic.get(name, []), *traffic])

    with executing(run):
        yield trace


def _run(launch: Launch, unwritten: bool) -> tuple[list[Counted], list[Traffic]]:
    """Trace one launch; its outputs come back into the launch's arrays."""
    library, guarded = watched(launch.kernel.source, launch.real), Guarded(launch, unwritten)
    seen = library.run(guarded)
    guarded.copy_back()
    wording = Wording(library, guarded, seen)
    counted = [wording.counted(found) for found in seen.found]
    if seen.failure and not (counted and is_explained(seen.failure)):
        finding = failed(launch, seen.failure)
        counted.append(Counted(finding, (finding.kind, finding.kernel, finding.place), 1))
    traffic = []
    for tally in seen.tallies:
        file, _, line = wording.place(tally.line).rpartition(":")
        traffic.append(
            Traffic(file, int(line), SPACES[tally.space], ACCESSES[tally.access], tally.size,
                    tally.requests, tally.moved, tally.ideal)
        )
    return counted, _summed(traffic)


def _summed(rows: list[Traffic]) -> list[Traffic]:
    """One row for each line and kind of access; those of the .cu file first."""
    sums: dict[tuple[object, ...], list[int]] = {}
    for t in rows:
        total = sums.setdefault((t.file, t.line, t.space, t.access, t.size), [0, 0, 0])
        for i, number in enumerate((t.requests, t.moved, t.ideal)):
            total[i] += number
    made = [Traffic(*key, *total) for key, total in sums.items() if total[0]]  # type: ignore[arg-type]
    return sorted(
        made, key=lambda t: (not t.file.endswith(".cu"), t.file, t.line, t.space, t.access, t.size)
    )
