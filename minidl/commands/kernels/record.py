"""All that can be found out about a rung without a GPU: gathered here, shown by others.

The launches are caught, the accesses traced on the emulator, the machine code's needs read from
what NVRTC compiled, and the blocks that fit onto a multiprocessor worked out from these.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np

from minidl.commands.kernels.launches import Owners, caught, owners
from minidl.commands.kernels.occupancy import Occupancy, occupancy
from minidl.cuda import nvrtc
from minidl.cuda.cubin import Resources, resources
from minidl.cuda.emulator.trace import Traffic, tracing
from minidl.cuda.ladder import Rung
from minidl.cuda.prepare import Launch
from minidl.cuda.source import Source, whole_text
from minidl.errors import ArgumentError, DeviceError, message
from minidl.kernels.agreement import as_tuple
from minidl.kernels.cases import Call, Case, cases_of, example
from minidl.kernels.ladders import LADDERS

REALS = {"float32": "float", "float64": "double"}
"""The meaning of ``real`` for each dtype."""


@dataclass(frozen=True)
class Needs:
    """What a kernel asks of a multiprocessor; ``real`` is "any" where it does not depend on it."""

    real: str
    resources: Resources
    occupancy: Occupancy | None


@dataclass(frozen=True)
class Compared:
    """A rung beside the others of its ladder, on the same call.

    Attributes
    ----------
    rung : Rung
    why_not : str
        Why it does not fit the call; then there is nothing else.
    sectors, ideal : float
        32-byte sectors moved to and from global memory per element of the result, and how many
        hold what was asked for.
    wavefronts, best : float
        Passes through shared memory per element of the result, and without conflicts of banks.
    registers : int or None
        Per thread, of the kernel that takes most.
    """

    rung: Rung
    why_not: str = ""
    sectors: float = 0
    ideal: float = 0
    wavefronts: float = 0
    best: float = 0
    registers: int | None = None


@dataclass(frozen=True)
class Explanation:
    """A rung, on one call.

    Attributes
    ----------
    rung : Rung
    case : Case
    dtype : str
    arch : str
    call : (arrays, settings)
    launches : list of Launch
    owners : list of Owners
        Of each launch, who writes what.
    needs : dict
        By kernel, for float and for double.
    not_compiled : str
        Why there are no ``needs``.
    traffic : dict
        By kernel, its accesses line by line.
    ladder : list of Compared
    """

    rung: Rung
    case: Case
    dtype: str
    arch: str
    call: Call
    launches: list[Launch]
    owners: list[Owners]
    needs: dict[str, list[Needs]]
    not_compiled: str
    traffic: dict[str, list[Traffic]]
    ladder: list[Compared] = field(default_factory=list)


def explain(rung: Rung, case: Case, dtype: str, arch: str, ladder: bool = False) -> Explanation:
    """Find out all about a rung on a case, and with ``ladder`` about those beside it."""
    call = case.call(dtype)
    reason = rung.why_not(*call[0], **call[1])
    if reason:
        raise ArgumentError(
            message(
                f"{rung.name} does not fit this call", reason, f"the call: {case.setting}, {dtype}"
            )
        )
    launches = caught(rung, call)
    needs, not_compiled = _needs(launches, arch)
    seen = traced(rung, call)
    beside = [
        _compared(other, call, arch, seen if other is rung else None)
        for other in (LADDERS[rung.op] if ladder else ())
    ]
    return Explanation(
        rung, case, dtype, arch, call, launches, owners(rung, call),
        needs, not_compiled, seen.traffic, beside,
    )


def gpu_rung(op: str, case: Case, dtype: str) -> Rung:
    """The rung that a GPU would use for a call."""
    arrays, settings = case.call(dtype)
    return LADDERS[op].highest(*arrays, emulated=False, **settings)


def fitting_case(rung: Rung, dtype: str) -> Case:
    """The op's example, or where the rung does not fit it, the largest case that it fits."""
    sizes = {}
    for case in (example(rung.op), *cases_of(rung.op)):
        arrays, settings = case.call(dtype)
        if not rung.why_not(*arrays, **settings):
            sizes[case] = np.inf if case is example(rung.op) else sum(a.size for a in arrays)
    if not sizes:
        raise ArgumentError(
            message(f"{rung.name} fits no case in {dtype}", hint="try the other --dtype.")
        )
    return max(sizes, key=lambda case: sizes[case])


class Traced(NamedTuple):
    """The traffic of each kernel that a call runs, and the elements of its result."""

    traffic: dict[str, list[Traffic]]
    elements: int


def traced(rung: Rung, call: Call) -> Traced:
    """Run a call, and look at each of its accesses."""
    arrays, settings = call
    with tracing() as trace:
        result = as_tuple(rung(*arrays, **settings))
    return Traced(trace.traffic, result[0].size)


def total(traffic: Iterable[Traffic], space: str) -> tuple[float, float]:
    """Sectors or wavefronts in all: moved, and ideal."""
    rows = [t for t in traffic if t.space == space]
    return sum(t.moved for t in rows), sum(t.ideal for t in rows)


# --- compiled ---


@cache
def _compiled(source: Source, real: str, arch: str) -> dict[str, Resources]:
    return resources(nvrtc.compile(whole_text(source), source.name, arch, [f"-Dreal={real}"]))


def _needs(launches: list[Launch], arch: str) -> tuple[dict[str, list[Needs]], str]:
    needs = {}
    try:
        for launch in launches:
            kernel, threads = launch.kernel, prod(launch.block)
            rows = []
            depends = any(parameter.type == "real" for parameter in kernel.parameters)
            for real in REALS.values() if depends else ("any",):
                given = launch.real if real == "any" else real
                found = _compiled(kernel.source, given, arch)[kernel.name]
                shared = found.shared + launch.shared
                fits = occupancy(arch, threads, found.registers, shared)
                rows.append(Needs(real, found, fits))
            needs[kernel.name] = rows
    except DeviceError as error:
        return {}, str(error)
    return needs, ""


def _compared(rung: Rung, call: Call, arch: str, seen: Traced | None) -> Compared:
    """A rung's line of the comparison; ``seen`` where it has been traced already."""
    arrays, settings = call
    reason = rung.why_not(*arrays, **settings)
    if reason:
        return Compared(rung, reason)
    launches = caught(rung, call)
    traffic, elements = seen or traced(rung, call)
    rows = [row for rows in traffic.values() for row in rows]
    needs, _ = _needs(launches, arch)
    used = [n.resources.registers for each in needs.values() for n in each
            if n.real in (launches[0].real, "any")]
    (sectors, ideal), (wavefronts, best) = total(rows, "global"), total(rows, "shared")
    return Compared(
        rung, "", sectors / elements, ideal / elements, wavefronts / elements, best / elements,
        max(used, default=None),
    )


NEEDS = [
    "kernel", "real", "registers", "spilled B", "shared B", "blocks fit", "warps", "limited by",
]


def needs_row(kernel: str, need: Needs) -> list[str]:
    """What a kernel needs, as the columns of ``NEEDS``."""
    r, fits = need.resources, need.occupancy
    room = ["?", "?", "architecture not in the table"]
    if fits:
        room = [str(fits.blocks), f"{fits.blocks * fits.warps} of {fits.most}", fits.limited_by]
    spills = str(r.spill_stores + r.spill_loads)
    return [kernel, need.real, str(r.registers), spills, str(r.shared), *room]


def call_text(found: Explanation) -> str:
    """What the op is called with: the shapes of the arrays, and the setting."""
    arrays, _ = found.call
    shapes = ", ".join(str(a.shape).replace(" ", "") for a in arrays)
    return f"{found.rung.op} of arrays {shapes}, {found.dtype} ({found.case.setting})"
