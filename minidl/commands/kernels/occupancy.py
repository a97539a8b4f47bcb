"""How many blocks of a kernel fit onto one multiprocessor at once, and what stands in the way.

A multiprocessor hides the wait for memory by having other warps to run meanwhile, so it matters
how many it can hold. Threads, registers, shared memory and the number of blocks each set a limit,
and the smallest decides.

Sources: the limits are those of the CUDA C++ Programming Guide, appendix "Compute Capabilities",
table of technical specifications; how registers and shared memory are handed out (a warp at a
time, in four parts of the multiprocessor) is written in CUDA's own header cuda_occupancy.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from minidl.cuda.prepare import WARP

SOURCE = 'CUDA C++ Programming Guide, "Compute Capabilities"; cuda_occupancy.h'
"""The source of the limits, as it is shown."""

REGISTERS = 65536
"""Registers of a multiprocessor, of 32 bits each, in all of these architectures."""

PARTS = 4
"""Parts of a multiprocessor, each with a quarter of the registers for its own warps."""

REGISTERS_AT_ONCE = 256
"""Registers that are handed out to a warp at a time."""


@dataclass(frozen=True)
class Multiprocessor:
    """What one multiprocessor holds at a time.

    Attributes
    ----------
    threads, blocks : int
    shared : int
        Kilobytes of shared memory.
    reserved : int
        Bytes of it that the system takes for itself in each block.
    shared_at_once : int
        Bytes; shared memory is handed out to a block in so many.
    """

    threads: int
    blocks: int
    shared: int
    reserved: int = 1024
    shared_at_once: int = 128


MULTIPROCESSORS = {
    "sm_75": Multiprocessor(1024, 16, 64, reserved=0, shared_at_once=256),
    "sm_80": Multiprocessor(2048, 32, 164),
    "sm_86": Multiprocessor(1536, 16, 100),
    "sm_87": Multiprocessor(1536, 16, 164),
    "sm_89": Multiprocessor(1536, 24, 100),
    "sm_90": Multiprocessor(2048, 32, 228),
    "sm_100": Multiprocessor(2048, 32, 228),
    "sm_103": Multiprocessor(2048, 32, 228),
    "sm_110": Multiprocessor(1536, 24, 228),
    "sm_120": Multiprocessor(1536, 24, 100),
    "sm_121": Multiprocessor(1536, 24, 100),
}


@dataclass(frozen=True)
class Occupancy:
    """How many blocks fit, by each limit.

    Attributes
    ----------
    limits : dict
        What is limited, and the blocks that it allows.
    warps : int
        Of one block.
    most : int
        Warps that the multiprocessor holds.
    """

    limits: dict[str, int]
    warps: int
    most: int

    @property
    def blocks(self) -> int:
        return min(self.limits.values())

    @property
    def limited_by(self) -> str:
        """The limits that decide."""
        return " and ".join(name for name, n in self.limits.items() if n == self.blocks)

    @property
    def share(self) -> float:
        """The share of the places for warps that are taken."""
        return self.blocks * self.warps / self.most


def occupancy(arch: str, threads: int, registers: int, shared: int) -> Occupancy | None:
    """How many blocks fit onto a multiprocessor; None for an architecture not in the table.

    Parameters
    ----------
    arch : str
        Such as ``"sm_90"``.
    threads : int
        Of a block.
    registers : int
        Of a thread.
    shared : int
        Bytes of a block, static and dynamic.

    Examples
    --------
    >>> found = occupancy("sm_90", threads=256, registers=64, shared=0)
    >>> found.blocks, found.limited_by, found.share
    (4, 'registers', 0.5)
    """
    limit = MULTIPROCESSORS.get(arch.rstrip("af"))
    if limit is None:
        return None
    warps = -(-threads // WARP)
    per_warp = -(-registers * WARP // REGISTERS_AT_ONCE) * REGISTERS_AT_ONCE
    room = REGISTERS // PARTS // per_warp * PARTS if per_warp else limit.threads // WARP
    step = limit.shared_at_once
    per_block = -(-(shared + limit.reserved) // step) * step
    limits = {
        "threads": limit.threads // (warps * WARP),
        "blocks": limit.blocks,
        "registers": room // warps,
    }
    if shared:
        limits["shared memory"] = limit.shared * 1024 // per_block
    return Occupancy(limits, warps, limit.threads // WARP)
