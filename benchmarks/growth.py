"""Time the same work at many sizes: images of 16 to 256 pixels, batches of 1 to 64.

    python benchmarks/growth.py                   a convolution and a U-Net's step; writes results/
    python benchmarks/growth.py --only "conv*"    some series
    python benchmarks/growth.py --quick           a look: two short rounds, nothing written

Of each size it prints what one pixel of the batch costs, by either side. That falls while the cost
of the calls is shared by more pixels, and is then nearly level. Where it rises, by more than
``RISE`` over the least since the last cliff, there is one, and the line says so. Checked and timed
as ``run.py`` does, with its options.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import machine
from run import add_options, conditions, measure, pace_of, place_of, undisturbed
from side_by_side import Refused
from steps import GROWTH

RISE = 1.25
"""Cost of a pixel, relative to the least at smaller sizes, that counts as a cliff."""


def arguments() -> argparse.Namespace:
    """Read what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"],
                        help=f"series, or patterns; there are {', '.join(map(repr, GROWTH))}")
    return add_options(parser).parse_args()


def pixel_costs(entries: list[dict[str, Any]], side: str) -> list[float]:
    """Nanoseconds for each pixel of a batch, size by size."""
    return [1e6 * entry[f"{side}_ms"] / (entry["shapes"]["x"][0] * entry["shapes"]["x"][2] ** 2)
            for entry in entries]


def cliffs(costs: list[float]) -> list[bool]:
    """Tell of each size whether its pixels cost more than before; after a cliff, that is level.

    >>> cliffs([9, 4, 4.5, 6, 6.5, 8])
    [False, False, False, True, False, True]
    """
    found, least = [], costs[0]
    for cost in costs:
        found.append(cost > RISE * least)
        least = cost if found[-1] else min(least, cost)
    return found


def show(entries: list[dict[str, Any]]) -> None:
    """Print the last size of a series, and note in its entry what a pixel costs, and the cliffs."""
    entry = entries[-1]
    sides = ["minidl", *(["torch"] if entry["torch_ms"] else [])]
    costs = {side: pixel_costs(entries, side) for side in sides}
    entry["pixel_ns"] = {side: costs[side][-1] for side in sides}
    entry["cliffs"] = [side for side in sides if cliffs(costs[side])[-1]]
    times = "".join(f"{entry[f'{side}_ms']:>12.3f}{costs[side][-1]:>12.1f}" for side in sides)
    ratio = f"{entry['ratio']['median']:>8.2f}" if entry["ratio"] else ""
    marks = "".join(f"  a cliff of {side}'s" for side in entry["cliffs"])
    print(f"{entry['name']:<28}{times}{ratio}{entry['predicted']:>11.2f}{marks}", flush=True)


def main() -> int:
    """Run what was asked for; 1 if a size was refused or disturbed."""
    asked = arguments()
    pace, place = pace_of(asked), place_of(asked)
    facts = conditions(asked, pace)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    found: dict[str, list[dict[str, Any]]] = {}
    refused = []
    for series, cases in GROWTH.items():
        if not any(fnmatchcase(series, pattern) for pattern in asked.only):
            continue
        print(f"\n{series:<30}{'minidl ms':>10}{'ns/pixel':>12}{'torch ms':>12}{'ns/pixel':>12}"
              f"{'ratio':>8}{'predicted':>11}", flush=True)
        found[series] = []
        for case in cases:
            try:
                found[series].append(measure(case, pace, place, asked.code))
                show(found[series])
            except Refused as reason:
                refused.append({"name": case.name, "reason": str(reason)})
                print(f"{case.name:<28}refused: {reason}", flush=True)
    if not undisturbed([entry for series in found.values() for entry in series], asked):
        return 1
    if asked.json or not asked.quick:
        machine.write(asked.json or machine.result_path("growth-", date), {
            "date": date, **machine.facts(), **facts, "series": found, "refused": refused,
        })
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
