"""Races: what goes wrong between threads, found on the CPU.

A kernel with a missing barrier may give the right answer a thousand times. It is wrong all the
same: nothing says that the thread which writes a number comes before the one which reads it. This
script runs the kernels of examples/races.cu, one right and five wrong, and prints what the emulator
says of each: the line, the threads, the array. Watch the column "right answer": one of the wrong
kernels gives it each time here, where blocks take turns, and would not on a GPU, where they do not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cuda.emulator import sanitize
from minidl.cuda.emulator.findings import Finding
from minidl.cuda.emulator.trace import tracing
from minidl.cuda.launch import launch
from minidl.cuda.source import Kernel, kernels_of
from minidl.errors import KernelError
from minidl.lecture.flags import arguments
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table

SOURCE = Path(__file__).with_name("races.cu")
SIZE = 256

EXPECTED = {
    "sums": [],
    "sums_without_a_barrier": ["race", "unwritten"],
    "sums_with_a_barrier_for_some": ["barrier"],
    "sums_of_one_too_many": ["overrun"],
    "sums_of_what_nobody_wrote": ["unwritten"],
    "sum_of_all_blocks": ["race"],
}
"""What is wrong with each kernel."""


def sums_by(kernel: Kernel, x: np.ndarray) -> np.ndarray:
    """One sum per block of 256 numbers (for sum_of_all_blocks: one in all)."""
    blocks = len(x) // SIZE
    y = np.zeros(1 if kernel.name == "sum_of_all_blocks" else blocks, np.float32)
    launch(kernel, grid=blocks, block=SIZE, x=x, y=y)
    return y


def is_right(run: Callable[[], np.ndarray], x: np.ndarray) -> str:
    """Whether the plain emulator, whose threads happen to take turns, gets the sums right."""
    try:
        y = run()
    except KernelError:
        return "none"
    expected = x.reshape(-1, SIZE).sum(1) if len(y) > 1 else x.sum()
    return "yes" if np.allclose(y, expected, rtol=1e-5) else "no"


def main() -> None:
    parser = arguments(__doc__, "05_races")
    args = parser.parse_args()
    x = np.random.default_rng(args.seed).random(3 * SIZE, np.float32)

    rows = []
    metrics: dict[str, Any] = {}
    for name, kernel in kernels_of(SOURCE).items():
        answer = is_right(partial(sums_by, kernel, x), x)
        with tracing() as trace:
            sums_by(kernel, x)
        kinds = sorted({finding.kind for finding in trace.findings})
        assert kinds == EXPECTED[name], (name, trace.findings)
        rows.append([name, answer, ", ".join(kinds) or "nothing"])
        metrics[name] = {"right_answer": answer, "found": [vars(f) for f in trace.findings]}
        show(name, trace.findings)
    print(table(["kernel", "right answer", "found"], rows))

    missing = sanitize.available("thread")
    if missing:
        print(f"\nThreadSanitizer is not available here: {missing}")
    else:
        print("\nThe compiler's ThreadSanitizer, which knows nothing of CUDA but its threads:\n")
        with sanitize.sanitizing("thread") as findings:
            sums_by(kernels_of(SOURCE)["sums_without_a_barrier"], x)
        assert findings
        show("sums_without_a_barrier", findings)
        metrics["thread_sanitizer"] = [vars(f) for f in findings]
    print(f"Saved {write_metrics(args.out, metrics)}")


def show(name: str, findings: list[Finding]) -> None:
    """The first finding, as it is reported."""
    for finding in findings[:1]:
        print(f"{name}: {finding.kind} at {finding.place}\n{finding.text}\n")


if __name__ == "__main__":
    main()
