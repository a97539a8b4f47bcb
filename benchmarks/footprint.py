"""Measure what a program pays before it computes much: memory at its peak, and the start.

    python benchmarks/footprint.py                both; writes results/
    python benchmarks/footprint.py --quick        a look: few starts, nothing written

Memory: a few steps of ResNet-18 by each side, in a process of its own. PyTorch's process holds
minidl and NumPy too, whose network it runs: so the table also has what was held before the first
step. Start: whole programs, as the shell sees them, in turns; the first turn is not counted, so
that files, and the compiled kernels, are where they will be found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any

import machine
from sides import CASES, CODES, Apart, Who, code_in_use, parties, torch_is_installed

from minidl.compute import threads

CASE = "resnet18-step"
CALLS = 5
"""Steps after which memory has reached its peak."""

PREDICTED_MEMORY = 1.0
"""The expected ratio of minidl's peak to the better of PyTorch's, written before measuring."""

CONVOLVE = """
import numpy, minidl.functional as F
x, w = numpy.ones((1, 16, 32, 32), "f"), numpy.ones((16, 16, 3, 3), "f")
F.conv2d(x, w)
"""
PYTORCH = """
import torch
x, w = torch.ones(1, 16, 32, 32), torch.ones(16, 16, 3, 3)
torch.nn.functional.conv2d(x, w)
"""
BY_NUMPY = f"""
import os
os.environ["MINIDL_NATIVE"] = "0"
{CONVOLVE}
"""

STARTS = {
    "Python alone": ("pass", 15),
    "import numpy": ("import numpy", 90),
    "import minidl": ("import minidl", 120),
    "the first conv2d": (CONVOLVE, 170),
    "the first conv2d, by NumPy": (BY_NUMPY, 160),
    "import torch": ("import torch", 1100),
    "PyTorch's first conv2d": (PYTORCH, 1150),
}
"""Programs, and their expected milliseconds, written before measuring."""


def arguments() -> argparse.Namespace:
    """Read what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, metavar="N", help="starts (default 21)")
    parser.add_argument("--code", choices=CODES, default="default",
                        help="what fills minidl's arrays in the steps")
    parser.add_argument("--threads", type=int, metavar="N", help="of each side")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write")
    parser.add_argument("--quick", action="store_true", help="three starts; no file but --json's")
    return parser.parse_args()


def memory(code: str) -> list[dict[str, Any]]:
    """Peaks of each side, in MiB: when the network lay ready, and after some steps."""
    case = next(case for case in CASES if case.name == CASE)
    found = []
    for who in parties(case, code):
        side = Apart(who, case)
        try:
            ready, peak = side.memory(CALLS)
        finally:
            side.close()
        found.append({"who": name_of(who), "ready_mib": ready, "peak_mib": peak})
        print(f"{name_of(who):<26}{ready:>12.0f}{peak:>12.0f}{peak - ready:>12.0f}", flush=True)
    return found


def name_of(who: Who) -> str:
    """The side's name in the table."""
    return f"minidl, {code_in_use(who.code)}" if who.library == "minidl" else f"torch, {who.layout}"


def starts(repeats: int) -> list[dict[str, Any]]:
    """Milliseconds of whole programs: medians and quartiles."""
    programs = {name: text for name, (text, _) in STARTS.items()
                if "torch" not in text or torch_is_installed()}
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats + 1):
        for name, text in programs.items():
            start = perf_counter()
            subprocess.run([sys.executable, "-c", text], check=True, cwd=machine.ROOT)
            times[name].append(1e3 * (perf_counter() - start))
    found = []
    for name, every in times.items():
        lower, middle, upper = quantiles(every[1:], n=4, method="inclusive")
        found.append({"program": name, "ms": middle, "lower_quartile": lower,
                      "upper_quartile": upper, "predicted_ms": STARTS[name][1]})
        print(f"{name:<26}{middle:>12.0f}{f'{lower:.0f} .. {upper:.0f}':>15}{STARTS[name][1]:>11}")
    return found


def main() -> int:
    """Measure, print, and keep the figures."""
    asked = arguments()
    if asked.threads:
        machine.use_threads(asked.threads)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    print(f"{CASE:<26}{'ready, MiB':>12}{'peak':>12}{'of steps':>12}"
          f"   predicted ratio of the peaks {PREDICTED_MEMORY:.2f}")
    peaks = memory(asked.code)
    print(f"\n{'start':<26}{'ms':>12}{'quartiles':>15}{'predicted':>11}")
    programs = starts(asked.repeats or (3 if asked.quick else 21))
    if asked.json or not asked.quick:
        machine.write(asked.json or machine.result_path("footprint-", date), {
            "date": date, **machine.facts(), "threads": threads.count(), "case": CASE,
            "calls": CALLS, "predicted_ratio_of_peaks": PREDICTED_MEMORY, "memory": peaks,
            "starts": programs,
        })
    return 0


if __name__ == "__main__":
    sys.exit(main())
