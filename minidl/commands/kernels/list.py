"""`minidl kernels list`: the ladders, rung by rung, and which rung is used where."""

from __future__ import annotations

import argparse
import json
import re
from functools import cache

import numpy as np

from minidl.commands.kernels.header import Row, header_of, path_of
from minidl.commands.kernels.names import chosen
from minidl.cuda.ladder import Ladder, Rung
from minidl.kernels.cases import cases_of
from minidl.kernels.ladders import LADDERS

EXAMPLES = """examples:
  minidl kernels list               every family
  minidl kernels list conv2d_y      one op, with what each rung asks of its arguments
"""

DTYPES = (np.float32, np.float64)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", default=[], help="an op, a rung or a family"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def main(args: argparse.Namespace) -> int:
    rungs = chosen(args.names or ["all"])
    if args.json:
        print(json.dumps([entry(rung) for rung in rungs], indent=2))
        return 0
    family = op = ""
    for rung in rungs:
        path = path_of(rung)
        if path.stem != family:
            family = path.stem
            print(f"\n{path.name}: {header_of(path).title}")
        if rung.op != op:
            op = rung.op
            print(f"\n  {op}")
            print("\n".join(lines(op, conditions_too=bool(args.names))))
    print(LEGEND)
    return 0


LEGEND = """
* on a GPU, ~ on the emulator: the highest rung that fits is used. Where kernels are not in use
(NumPy arrays, by default) it is minidl.compute.fast, or minidl.compute.reference where
there is nothing faster."""


def lines(op: str, conditions_too: bool = False) -> list[str]:
    """The ladder of an op as text: marks, rungs, ideas, measurements."""
    ladder = LADDERS[op]
    gpu, emulator = used(ladder)
    wide = max(len(short(rung)) for rung in ladder)
    ideas = max(len(row_of(rung).idea) for rung in ladder)
    told = []
    for rung in ladder:
        row = row_of(rung)
        marks = ("*" if rung is gpu else " ") + ("~" if rung is emulator else " ")
        line = f"   {marks} {short(rung):<{wide}}  {row.idea:<{ideas}}  {row.measured}"
        told.append(line.rstrip())
        if conditions_too:
            told += [f"      {'':<{wide}}  {note}" for note in conditions(rung)]
    return told


def entry(rung: Rung) -> dict[str, object]:
    """All that is known of a rung, for a program."""
    gpu, emulator = used(LADDERS[rung.op])
    row = row_of(rung)
    return {
        "family": path_of(rung).name, "op": rung.op, "level": rung.level, "rung": rung.name,
        "idea": row.idea, "measured": row.measured, "conditions": conditions(rung),
        "default_on_gpu": rung is gpu, "default_on_emulator": rung is emulator,
    }


def row_of(rung: Rung) -> Row:
    return header_of(path_of(rung)).row(rung)


def short(rung: Rung) -> str:
    """A rung's name without its op's: ``v2_shared_tile``."""
    return rung.name.removeprefix(f"{rung.op}_")


def used(ladder: Ladder) -> tuple[Rung, Rung]:
    """The rungs used on a GPU and on the emulator, where all of them fit."""
    gpu = [rung for rung in ladder if not rung.optional]
    return gpu[-1], [rung for rung in gpu if not rung.slow_emulated][-1]


def conditions(rung: Rung) -> list[str]:
    """The cases in which a rung is not used although it is the highest."""
    told = [f"does not fit: {reason}" for reason in reasons(rung.op)[rung.name]]
    if rung.optional:
        told.append("used only when asked for, by use_rung")
    if rung.slow_emulated:
        told.append("used on the emulator only when asked for: slow to imitate")
    return told


@cache
def reasons(op: str) -> dict[str, list[str]]:
    """The reasons why each rung of an op may not fit: its answers to the cases."""
    found: dict[str, dict[str, set[str]]] = {rung.name: {} for rung in LADDERS[op]}
    for case in cases_of(op):
        for dtype in DTYPES:
            arrays, settings = case.make(np.random.default_rng(0), dtype)
            for rung in LADDERS[op]:
                reason = rung.why_not(*arrays, **settings)
                found[rung.name].setdefault(reason, set()).add(np.dtype(dtype).name)
    return {name: [_with_dtype(*item) for item in told.items() if item[0]]
            for name, told in found.items()}


def _with_dtype(reason: str, dtypes: set[str]) -> str:
    """A reason, and where its number is of one dtype alone, that dtype."""
    one = len(dtypes) < len(DTYPES) and re.search(r"\d", reason) and "float" not in reason
    return f"{reason} ({min(dtypes)})" if one else reason
