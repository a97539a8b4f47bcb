"""Time minidl and PyTorch side by side.

    python benchmarks/run.py                      everything; writes benchmarks/results/
    python benchmarks/run.py --only "conv*"       some cases
    python benchmarks/run.py --apart              two processes, each with its heap as it is
    python benchmarks/run.py --quick              a look: two short rounds, nothing written

Without PyTorch, minidl is timed alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter
from typing import Any

import machine
from cases import Layer
from side_by_side import TOLERANCE, Pace, Refused, largest_difference, race
from sides import CASES, WHO, Apart, Here, torch_is_installed
from steps import Step

from minidl.compute import threads

BUSY = 0.1
"""Cores that other programs may use during a case before its line is marked."""

RESULTS = Path(__file__).resolve().parent / "results"


def arguments() -> argparse.Namespace:
    """Read what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"],
                        help='names of cases, or patterns such as "conv*"')
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds per case (default 11)")
    parser.add_argument("--json", type=Path, metavar="PATH",
                        help="where to write (default: benchmarks/results/<cpu>-<date>.json)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--apart", action="store_true",
                        help="each side in a process of its own, malloc as the system has it")
    parser.add_argument("--quick", action="store_true",
                        help="two short rounds; written only with --json")
    asked = parser.parse_args()
    if asked.repeats is not None and asked.repeats < 1:
        parser.error("--repeats must be at least 1")
    for pattern in asked.only:
        if not any(fnmatchcase(case.name, pattern) for case in CASES):
            parser.error(f"no case is called {pattern!r}; --list prints the names")
    return asked


def measure(case: Layer | Step, pace: Pace, place: type[Here] | type[Apart]) -> dict[str, Any]:
    """Check and time one case; return the entry for the JSON file.

    Raises
    ------
    Refused
        If the two sides do not compute the same.
    """
    start, before = perf_counter(), machine.busy_seconds()
    sides = [place(who, case) for who in (WHO if torch_is_installed() else WHO[:1])]
    mine, theirs = sides[0], sides[1] if len(sides) == 2 else None
    try:
        difference = largest_difference(mine.results(), theirs.results()) if theirs else None
        timing = race(mine, theirs, pace)
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
        "minidl_ms": mine_ms,
        "torch_ms": theirs_ms,
        "ratio": timing.ratio() if theirs else None,
        "predicted": case.predicted,
        "largest_difference": difference,
        "other_programs": ((after[0] - before[0]) - (after[1] - before[1])) / passed,
    }


def row(entry: dict[str, Any]) -> str:
    """One line of the table."""
    ratio = entry["ratio"]
    if ratio is None:
        torch, middle, span = "-", "-", "-"
    else:
        torch, middle = f"{entry['torch_ms']:.3f}", f"{ratio['median']:.2f}"
        span = f"{ratio['lower_quartile']:.2f} .. {ratio['upper_quartile']:.2f}"
    line = (f"{entry['name']:<24}{entry['minidl_ms']:>11.3f}{torch:>11}{middle:>8}{span:>17}"
            f"{entry['predicted']:>11.2f}")
    others = entry["other_programs"]
    return f"{line}  other programs used {others:.1f} cores" if others > BUSY else line


def disturbed(entries: list[dict[str, Any]]) -> bool:
    """Tell whether other programs used the machine meanwhile."""
    return any(entry["other_programs"] > BUSY for entry in entries)


def free_path(facts: dict[str, Any], date: str) -> Path:
    """A file name of its own for this run: earlier results stay."""
    stem = f"{machine.slug(facts['machine']['cpu'])}-{date[:10]}"
    path, number = RESULTS / f"{stem}.json", 2
    while path.exists():
        path, number = RESULTS / f"{stem}-{number}.json", number + 1
    return path


def main() -> int:
    """Run what was asked for; 1 if a case was refused or disturbed."""
    asked = arguments()
    chosen = [c for c in CASES if any(fnmatchcase(c.name, p) for p in asked.only)]
    if asked.list:
        print(*(case.name for case in chosen), sep="\n")
        return 0
    pace = Pace(asked.repeats or 2, 0.02, 0.02) if asked.quick else Pace(asked.repeats or 11)
    place = Apart if asked.apart else Here
    count = threads.count()
    if not torch_is_installed():
        print("PyTorch is not installed: minidl is timed alone, and its results are not checked.")
    kept = not asked.apart and machine.keep_memory()
    print(f"{count} threads, float32, {pace.rounds} rounds of minidl, torch, torch, minidl, "
          f"{'two processes' if asked.apart else 'one process'}"
          f"{', freed memory kept' if kept else ''}\n")
    print(f"{'case':<24}{'minidl ms':>11}{'torch ms':>11}{'ratio':>8}{'quartiles':>17}"
          f"{'predicted':>11}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    entries, refused = [], []
    for case in chosen:
        try:
            entries.append(measure(case, pace, place))
            print(row(entries[-1]), flush=True)
        except Refused as reason:
            refused.append({"name": case.name, "reason": str(reason)})
            print(f"{case.name:<24} refused: {reason}", flush=True)
    if disturbed(entries) and not asked.json:
        print("\nOther programs were running: these ratios mean little. Nothing is written.")
        return 1
    if asked.json or not asked.quick:
        facts = machine.facts()
        path = asked.json or free_path(facts, date)
        report = {
            "date": date,
            **facts,
            "threads": count,
            "processes": 1 + asked.apart,
            "memory_kept": kept,
            "rounds": pace.rounds,
            "tolerance": TOLERANCE,
            "cases": entries,
            "refused": refused,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(f"\nwritten to {path}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
