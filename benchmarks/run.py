"""Time minidl and PyTorch side by side.

    python benchmarks/run.py                      everything; writes benchmarks/results/
    python benchmarks/run.py --only "conv*"       some cases
    python benchmarks/run.py --apart              two processes, each with its heap as it is
    python benchmarks/run.py --code numpy         minidl without its native code
    python benchmarks/run.py --threads 1          on so many threads
    python benchmarks/run.py --processes 4        four copies of each side at once, a thread each
    python benchmarks/run.py --quick              a look: two short rounds, nothing written

Without PyTorch, minidl is timed alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import machine
from cases import Layer
from side_by_side import (
    TOLERANCE,
    Pace,
    Refused,
    distance_to_pytorch,
    largest_difference,
    quickest,
    race,
)
from sides import CASES, CODES, Apart, Crowd, Here, Side, code_in_use, parties, torch_is_installed
from steps import Step

from minidl.compute import threads

BUSY = 0.1
"""Cores that other programs may use during a case before its line is marked."""

Place = Callable[..., Side]
"""Prepares a side: ``Here``, ``Apart``, or copies of it."""


def arguments() -> argparse.Namespace:
    """Read what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"],
                        help='names of cases, or patterns such as "conv*"')
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    asked = add_options(parser).parse_args()
    for pattern in asked.only:
        if not any(fnmatchcase(case.name, pattern) for case in CASES):
            parser.error(f"no case is called {pattern!r}; --list prints the names")
    return asked


def add_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options that say how to measure, and return the parser."""
    parser.add_argument("--repeats", type=positive, metavar="N",
                        help="rounds per case (default 11)")
    parser.add_argument("--json", type=Path, metavar="PATH",
                        help="where to write (default: a new file in benchmarks/results/)")
    parser.add_argument("--code", choices=CODES, default="default",
                        help="what fills minidl's arrays (default: native code if there is a "
                             "compiler, else NumPy)")
    threads_or_copies = parser.add_mutually_exclusive_group()
    threads_or_copies.add_argument("--threads", type=positive, metavar="N",
                                   help="of each side (default: MINIDL_THREADS, or the cores)")
    threads_or_copies.add_argument("--processes", type=positive, metavar="N",
                                   help="copies of each side that run at once, each on one thread")
    parser.add_argument("--apart", action="store_true",
                        help="each side in a process of its own, malloc as the system has it")
    parser.add_argument("--quick", action="store_true",
                        help="two short rounds; written only with --json")
    return parser


def positive(text: str) -> int:
    """Read a number that must be at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def pace_of(asked: argparse.Namespace) -> Pace:
    """The lengths of a race that were asked for."""
    return Pace(asked.repeats or 2, 0.02, 0.02) if asked.quick else Pace(asked.repeats or 11)


def place_of(asked: argparse.Namespace) -> Place:
    """Where the sides lie: here, apart, or apart in copies."""
    if asked.processes:
        return partial(Crowd, copies=asked.processes)
    return Apart if asked.apart else Here


def conditions(asked: argparse.Namespace, pace: Pace) -> dict[str, Any]:
    """Set threads and memory as asked for; print how it is measured, and return it."""
    if asked.threads or asked.processes:
        machine.use_threads(asked.threads or 1)
    if not torch_is_installed():
        print("PyTorch is not installed: minidl is timed alone, and its results are not checked.")
    alone = not (asked.apart or asked.processes)
    kept = alone and machine.keep_memory()
    apart = f"{asked.processes} of each side at once" if asked.processes else "two processes"
    print(f"{threads.count()} threads, float32, {pace.rounds} rounds of minidl, torch, torch, "
          f"minidl, {'one process' if alone else apart}{', freed memory kept' if kept else ''}")
    return {
        "threads": threads.count(),
        "processes": 1 if alone else 2,
        "copies": asked.processes or 1,
        "code": asked.code,
        "memory_kept": kept,
        "rounds": pace.rounds,
        "tolerance": TOLERANCE,
    }


def undisturbed(entries: list[dict[str, Any]], asked: argparse.Namespace) -> bool:
    """Tell whether the machine was quiet, or a file was named that is to be written anyway."""
    if asked.json or all(entry["other_programs"] <= BUSY for entry in entries):
        return True
    print("\nOther programs were running: these ratios mean little. Nothing is written.")
    return False


def measure(case: Layer | Step, pace: Pace, place: Place, code: str) -> dict[str, Any]:
    """Check and time one case; return the entry for the JSON file.

    Raises
    ------
    Refused
        If the two sides do not compute the same.
    """
    start, before = perf_counter(), machine.busy_seconds()
    who = parties(case, code)
    sides: list[Side] = []
    try:
        sides = [place(each, case) for each in who]
        mine, *rivals = sides
        difference, theirs = None, []
        if rivals and isinstance(case, Step):
            difference, theirs = distance_to_pytorch(mine, rivals)
        elif rivals:
            results = mine.results()
            difference = max(largest_difference(results, rival.results()) for rival in rivals)
        filled = mine.filled_by()
        best, layouts_ms = quickest(rivals, pace) if len(rivals) > 1 else (0, [])
        timing = race(mine, rivals[best] if rivals else None, pace)
    finally:
        for side in sides:
            side.close()
    passed, after = perf_counter() - start, machine.busy_seconds()
    mine_ms, theirs_ms = timing.medians()
    return {
        "name": case.name,
        "shapes": case.shapes,
        "dtype": "float32",
        "layout": case.layout,
        "rounds": pace.rounds,
        "threads": threads.count(),
        "code": code_in_use(code),
        "native_calls": len(filled["native"]),
        "left_to_numpy": filled["numpy"],
        "minidl_ms": mine_ms,
        "torch_ms": theirs_ms,
        "torch_layout": case.layouts[best] if rivals else None,
        "torch_layouts_ms": dict(zip(case.layouts, layouts_ms, strict=False)),
        "ratio": timing.ratio() if rivals else None,
        "predicted": case.predicted,
        "largest_difference": difference,
        "torch_to_float64": dict(zip(case.layouts, theirs, strict=False)),
        "other_programs": ((after[0] - before[0]) - (after[1] - before[1])) / passed,
    }


HEADER = (f"{'case':<26}{'code':<14}{'minidl ms':>10}{'torch ms':>10} {'layout':<13}{'ratio':>6}"
          f"{'quartiles':>15}{'predicted':>11}")


def row(entry: dict[str, Any]) -> str:
    """One line of the table."""
    ratio = entry["ratio"]
    if ratio is None:
        torch, middle, span = "-", "-", "-"
    else:
        torch, middle = f"{entry['torch_ms']:.3f}", f"{ratio['median']:.2f}"
        span = f"{ratio['lower_quartile']:.2f} .. {ratio['upper_quartile']:.2f}"
    line = (f"{entry['name']:<26}{_code(entry):<14}{entry['minidl_ms']:>10.3f}{torch:>10} "
            f"{entry['torch_layout'] or '-':<13}{middle:>6}{span:>15}{entry['predicted']:>11.2f}")
    others = entry["other_programs"]
    return f"{line}  other programs used {others:.1f} cores" if others > BUSY else line


def _code(entry: dict[str, Any]) -> str:
    """The code that ran, and how many of the hand-written functions native code computed."""
    calls = entry["native_calls"] + len(entry["left_to_numpy"])
    return f"{entry['code']} {entry['native_calls']}/{calls}" if calls else entry["code"]


def main() -> int:
    """Run what was asked for; 1 if a case was refused or disturbed."""
    asked = arguments()
    chosen = [c for c in CASES if any(fnmatchcase(c.name, p) for p in asked.only)]
    if asked.list:
        print(*(case.name for case in chosen), sep="\n")
        return 0
    pace, place = pace_of(asked), place_of(asked)
    facts = conditions(asked, pace)
    print(f"\n{HEADER}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    entries, refused = [], []
    for case in chosen:
        try:
            entries.append(measure(case, pace, place, asked.code))
            print(row(entries[-1]), flush=True)
        except Refused as reason:
            refused.append({"name": case.name, "reason": str(reason)})
            print(f"{case.name:<26}refused: {reason}", flush=True)
    if not undisturbed(entries, asked):
        return 1
    if asked.json or not asked.quick:
        kind = "" if asked.code == "default" else f"{asked.code}-"
        machine.write(asked.json or machine.result_path(kind, date), {
            "date": date, **machine.facts(), **facts, "cases": entries, "refused": refused,
        })
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
