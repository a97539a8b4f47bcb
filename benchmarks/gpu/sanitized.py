"""NVIDIA's compute-sanitizer over a launch of each rung: overruns (memcheck), races (racecheck)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.report import Rows

TOOLS = {
    "memcheck": r"ERROR SUMMARY: (\d+) error",
    "racecheck": r"RACECHECK SUMMARY: (\d+) hazard",
}
"""Each tool, and where its last line counts what it found."""

PLACES = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer", "/opt/cuda/bin")


def sanitizer(rows: Rows) -> None:
    """Run both tools, each for half of the time."""
    program = found()
    if program is None:
        rows.add("compute-sanitizer", None, "not installed: nothing looked at")
        return
    for number, (tool, last) in enumerate(TOOLS.items()):
        seconds = rows.left() / (len(TOOLS) - number)
        with rows.judged(tool):
            _looked(rows, program, tool, last, seconds)


def found() -> str | None:
    """The path of the tool, if it is installed."""
    on_path = shutil.which("compute-sanitizer")
    others = (str(Path(place) / "compute-sanitizer") for place in PLACES)
    return on_path or next((path for path in others if Path(path).is_file()), None)


def command(program: str, tool: str, seconds: float) -> list[str]:
    """The command line; errors of kernels are wanted, not those of CUDA's functions."""
    script = Path(__file__).with_name("launch_once.py")
    return [program, "--tool", tool, "--print-limit", "20", "--report-api-errors", "no",
            sys.executable, str(script), f"{seconds:.0f}"]


def _looked(rows: Rows, program: str, tool: str, last: str, seconds: float) -> None:
    # Launches are counted against most of the time: start and report take the rest.
    asked = command(program, tool, max(seconds - 15, 5))
    try:
        ran = subprocess.run(asked, capture_output=True, text=True, timeout=seconds + 5)
    except subprocess.TimeoutExpired as late:
        text = late.stdout.decode(errors="replace") if late.stdout else ""
        rows.add(tool, None, "stopped: no time", output=text.splitlines()[-20:])
        return
    text = ran.stdout + ran.stderr
    counted, launched = re.findall(last, text), re.findall(r"launched (\d+) of (\d+) rungs", text)
    if not counted or not launched:
        rows.add(tool, None, "gave no result", output=text.splitlines()[-30:])
        return
    errors, (count, all_) = int(counted[-1]), launched[-1]
    rows.add(tool, errors == 0, f"{errors} found in {count} of {all_} rungs", errors=errors,
             output=text.splitlines()[:60] if errors else [])
