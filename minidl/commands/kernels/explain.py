"""`minidl kernels explain`: a kernel's formula, launch, needs, and the traffic of its lines."""

from __future__ import annotations

import argparse
from math import prod
from pathlib import Path

from minidl.commands.kernels import sizing
from minidl.commands.kernels.check import traceable
from minidl.commands.kernels.header import changes, header_of, idea, path_of
from minidl.commands.kernels.lines import Line, lines_of, place
from minidl.commands.kernels.names import one
from minidl.commands.kernels.occupancy import SOURCE
from minidl.commands.kernels.page import page
from minidl.commands.kernels.record import (
    NEEDS,
    REALS,
    Explanation,
    call_text,
    explain,
    fitting_case,
    gpu_rung,
    needs_row,
    total,
)
from minidl.files.whole import replacing
from minidl.kernels.cases import example
from minidl.lecture.text_table import table

EXAMPLES = """examples:
  minidl kernels explain conv2d_y                          the rung that a GPU uses, and its ladder
  minidl kernels explain conv2d_y_v4_shared_tile           a certain rung
  minidl kernels explain conv2d_y --set C=3 H=64 stride=2  on a call of this size
  minidl kernels explain conv2d_y --html conv.html         as a page, every line of source coloured
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="an op, or one of its rungs")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="LETTER=SIZE", dest="sizes",
        help="sizes of the call: N=2 C=16 H=32 ...",
    )
    parser.add_argument("--dtype", choices=[*REALS], default="float32", help="%(default)s")
    parser.add_argument("--arch", default="sm_90", help="what to compile for (%(default)s)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page")


def main(args: argparse.Namespace) -> int:
    traceable("minidl kernels explain")
    op, rung = one(args.name)
    if args.sizes:
        case = sizing.sized(op, sizing.read(op, args.sizes))
    else:
        case = fitting_case(rung, args.dtype) if rung else example(op)
    asked = rung or gpu_rung(op, case, args.dtype)
    found = explain(asked, case, args.dtype, args.arch, ladder=rung is None)
    if args.html:
        with replacing(args.html) as temporary:
            temporary.write_text(page(found), encoding="utf-8")
        print(f"wrote {args.html}")
        return 0
    print(as_text(found))
    return 0


def as_text(found: Explanation) -> str:
    """The explanation, for a terminal."""
    parts = [_head(found), _launches(found), _compiled(found), _traffic(found)]
    if found.ladder:
        parts.append(_ladder(found))
    return "\n\n".join(parts)


def _head(found: Explanation) -> str:
    header, kernels = header_of(path_of(found.rung)), [each.kernel for each in found.launches]
    told = [f"{found.rung.name}: {idea(found.rung)}", f"{place(kernels[0])}  {header.title}", ""]
    told.append(header.about)
    if changes(kernels):
        told += ["", f"Changes: {changes(kernels)}"]
    return "\n".join(told)


def _launches(found: Explanation) -> str:
    told = [f"The call: {call_text(found)}"]
    for launch, who in zip(found.launches, found.owners, strict=True):
        threads = prod(launch.block)
        told += [
            f"  {launch.kernel.name}",
            f"    {prod(launch.grid):,} blocks {launch.grid} of {threads} threads {launch.block}: "
            f"{-(-threads // 32)} warps each; {launch.shared} bytes of dynamic shared memory",
            f"    block 0 writes {(who.owner == 0).sum():,} of the {who.owner.size:,} elements "
            f"of {who.array} {who.shape}",
        ]
    return "\n".join(told)


def _compiled(found: Explanation) -> str:
    if found.not_compiled:
        return f"Not compiled: {found.not_compiled}"
    rows = [needs_row(name, need) for name, rows in found.needs.items() for need in rows]
    return "\n".join(
        [f"Compiled for {found.arch}:", table(NEEDS, rows), "", f"Limits: {SOURCE}."]
    )


def _traffic(found: Explanation) -> str:
    parts = []
    for kernel, rows in found.traffic.items():
        parts.append(f"Traffic of {kernel}, per request of a warp (x: moved / ideal):")
        parts += [_line(line) for line in lines_of(found, kernel)]
        for space, unit in (("global", "sectors of 32 bytes"), ("shared", "wavefronts")):
            moved, ideal = total(rows, space)
            if ideal:
                parts.append(f"  {space}: {moved:,.0f} {unit}, {ideal:,.0f} ideal")
        parts.append("")
    return "\n".join(parts).rstrip()


def _line(line: Line) -> str:
    told = [f"  {line.place}  {line.text.strip()}"]
    for t in line.traffic:
        unit = "sectors" if t.space == "global" else "wavefronts"
        told.append(
            f"      x{t.moved / t.ideal if t.ideal else 1:<6.3g}{t.space} {t.access} {t.size} B, "
            f"{t.requests:,} requests, {t.moved_each:.2f} {unit}, "
            f"{t.ideal_each:.2f} ideal"
        )
    return "\n".join(told)


LADDER = ["rung", "sectors", "ideal", "wavefronts", "ideal", "registers"]


def ladder_rows(found: Explanation) -> list[list[str]]:
    """The ladder, as the columns of ``LADDER``: per element of the result."""
    rows = []
    for row in found.ladder:
        name = row.rung.name.removeprefix(f"{row.rung.op}_")
        numbers = [f"{n:.3g}" for n in (row.sectors, row.ideal, row.wavefronts, row.best)]
        registers = "" if row.registers is None else str(row.registers)
        rows.append([name, *(["-"] * 5 if row.why_not else [*numbers, registers])])
    return rows


def _ladder(found: Explanation) -> str:
    reasons = [f"{row.rung.name}: {row.why_not}" for row in found.ladder if row.why_not]
    head = "The ladder, on this call: sectors of global memory and wavefronts of shared memory"
    shown = table(LADDER, ladder_rows(found))
    return "\n".join([f"{head} per element of the result:", shown, *reasons])
