"""Check and time minidl on a GPU: one command, a table at the end.

    python benchmarks/gpu/check.py                          all steps, within ten minutes
    python benchmarks/gpu/check.py --only kernels sanitizer
    python benchmarks/gpu/check.py --only convolutions --seconds 500
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu import report, tree

STEPS = {
    "machine": ("facts", "machine", 50),
    "kernels": ("correct", "kernels", 90),
    "gradients": ("correct", "gradients", 60),
    "models": ("correct", "models", 30),
    "sanitizer": ("sanitized", "sanitizer", 75),
    "ladders": ("ladders", "ladders", 45),
    "convolutions": ("convolutions", "convolutions", 110),
    "layers": ("layers", "layers", 50),
    "training": ("training", "training", 30),
    "names": ("names", "names", 20),
}
"""The steps: each one's module, function, and seconds of its own."""

GRACE = 15
"""The seconds beyond its own after which a step that does not end is stopped."""

SHOWN = 30
"""Failures that the summary tells one by one."""

RESULTS = Path(__file__).resolve().parents[1] / "results"


def main() -> int:
    """Run what was asked for; return 1 if something failed."""
    asked = arguments()
    if asked.step:
        return run_step(asked.step, asked.seconds, asked.out)
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = rows_path(asked.out)
    rows.unlink(missing_ok=True)
    start, ends = time.monotonic(), {}
    for step in asked.only:
        left = asked.seconds - (time.monotonic() - start)
        # With fewer steps than all, each has more time.
        share = STEPS[step][2] * max(asked.seconds / sum(STEPS[s][2] for s in asked.only), 1)
        if left < 5:
            ends[step] = "no time left"
            continue
        print(f"\n--- {step} ---", flush=True)
        ends[step] = supervised(step, min(share, left), asked.out)
    found = report.read(rows)
    path = written(asked.out, found, ends)
    rows.unlink(missing_ok=True)
    print(f"\n{summary(found, ends)}\n\nwritten to {path}")
    return int(failed(found, ends))


def arguments() -> argparse.Namespace:
    """Read what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=[*STEPS], default=[*STEPS], metavar="STEP",
                        help=f"some of {', '.join(STEPS)}")
    parser.add_argument("--seconds", type=float, default=560, help="in all (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or RESULTS),
                        help="folder of the JSON file (default: $OUT, or benchmarks/results)")
    parser.add_argument("--step", choices=[*STEPS], help=argparse.SUPPRESS)
    return parser.parse_args()


def rows_path(out: Path) -> Path:
    """The file that the steps write to while they run."""
    return out / "gpu-rows.jsonl"


def run_step(step: str, seconds: float, out: Path) -> int:
    """Run one step, in this process."""
    module, function, _ = STEPS[step]
    rows = report.Rows(rows_path(out), step, seconds)
    with rows.judged("the whole step"):
        tree.use()
        getattr(import_module(f"benchmarks.gpu.{module}"), function)(rows)
    return 0


def supervised(step: str, seconds: float, out: Path) -> str:
    """Run a step in a process of its own, again if it asks for a fresh one; tell how it ended."""
    end = time.monotonic() + seconds
    # What the CPU computes here is small: many threads would only get in each other's way.
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
    while True:
        left = end - time.monotonic()
        command = [sys.executable, __file__, "--step", step, "--out", str(out),
                   "--seconds", f"{left:.1f}"]
        process = subprocess.Popen(command, start_new_session=True, env=environment)
        try:
            code = process.wait(left + GRACE)
        except subprocess.TimeoutExpired:
            stop(process)
            return "stopped at its time limit"
        except BaseException:
            stop(process)
            raise
        if code == report.AGAIN and end - time.monotonic() > 10:
            continue
        return "done" if code == 0 else f"ended with status {code}"


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a step and whatever it started: they are a process group of their own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def written(out: Path, rows: list[dict[str, Any]], ends: dict[str, str]) -> Path:
    """Write the JSON file, named after the GPU and the day; earlier ones stay."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    gpu = next((row["gpu"] for row in rows if row.get("gpu")), "gpu")
    stem = f"{re.sub('[^a-z0-9]+', '-', gpu.lower()).strip('-')}-{date[:10]}"
    names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
    path = next(p for p in (out / f"{name}.json" for name in names) if not p.exists())
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tree.ROOT, capture_output=True,
                            text=True, check=False).stdout.strip()
    content = {"date": date, "gpu": gpu, "commit": commit or None, "steps": ends, "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def failed(rows: list[dict[str, Any]], ends: dict[str, str]) -> bool:
    """Whether anything is wrong."""
    return any(row["ok"] is False for row in rows) or any(end != "done" for end in ends.values())


def summary(rows: list[dict[str, Any]], ends: dict[str, str]) -> str:
    """What was timed, what failed, how each step ended: the end of an output is what is read."""
    lines = ["predicted -> came out (minidl / PyTorch, below 1: minidl is faster)"]
    for row in rows:
        if row.get("ratio") is not None:
            lines.append(f"  {row['step']:13} {row['name']:44} {row['predicted']:5.2f} -> "
                         f"{row['ratio']:5.2f}  {row['text']}")
    lines += ["", "failed:"]
    wrong = [f"  {r['step']}: {r['name']}: {r['text']}" for r in rows if r["ok"] is False]
    more = [f"  and {len(wrong) - SHOWN} more, in the file"] if len(wrong) > SHOWN else []
    lines += wrong[:SHOWN] + more
    lines += ["", f"{'step':14}{'ok':>5}{'failed':>8}{'not judged':>12}  end"]
    for step, end in ends.items():
        own = [row["ok"] for row in rows if row["step"] == step]
        right, bad, other = (own.count(value) for value in (True, False, None))
        lines.append(f"{step:14}{right:>5}{bad:>8}{other:>12}  {end}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
