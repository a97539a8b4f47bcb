"""Write a kernel: turning a matrix, three ways, and what a warp's accesses cost in each.

A GPU reads and writes memory in sectors of 32 bytes, and the 32 threads of a warp make their
accesses together, as one request. Shared memory lies in 32 banks, each of which serves one word
at a time. So the same elements, moved by other threads or to other places, cost up to 32 times as
much. This script runs the kernels of examples/transpose.cu on the CPU, with every access counted:

    naive     writes down the columns of y: 32 sectors a request, where 4 would do
    tiled     turns a tile in shared memory: sectors are ideal now, but all 32 lanes hit one bank
    padded    one unused word a row: no two lanes meet in a bank

A kernel whose threads never meet is also compiled as the CPU's own code, where there is a compiler:
the naive one is timed so, beside NumPy's copy of the turned matrix.

Change transpose.cu and run this again: it is the quickest way to learn what a change does.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from minidl.cuda import native
from minidl.cuda.emulator.trace import Trace, tracing
from minidl.cuda.launch import executing, launch
from minidl.cuda.source import Kernel, kernels_of
from minidl.lecture.flags import arguments
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table

SOURCE = Path(__file__).with_name("transpose.cu")
TILE, ROWS = 32, 8
READ = 9
"""The column of the tile that the picture frames."""


def turn(kernel: Kernel, x: np.ndarray) -> np.ndarray:
    """The kernel's x turned, launched as transpose.cu says."""
    h, w = x.shape
    y = np.full((w, h), np.nan, np.float32)
    blocks = -(-w // TILE), -(-h // TILE)
    launch(kernel, grid=(*blocks, 1), block=(TILE, ROWS, 1), x=x, y=y, H=h, W=w)
    return y


def costs(trace: Trace) -> dict[str, float]:
    """Per request, on average: sectors of a load and of a store, and turns of shared memory."""
    (lines,) = trace.traffic.values()  # of the one kernel that ran
    found: dict[str, float] = {}
    for space, access in (("global", "load"), ("global", "store"), ("shared", "store"),
                          ("shared", "load")):
        rows = [t for t in lines if (t.space, t.access) == (space, access)]
        requests = sum(t.requests for t in rows)
        found[f"{space} {access}"] = sum(t.moved for t in rows) / requests if requests else 0.0
    return found


def natively(kernel: Kernel, x: np.ndarray) -> dict[str, float]:
    """Milliseconds of a kernel as the CPU's own code, and of NumPy's copy; medians."""
    times: dict[str, list[float]] = {"native": [], "numpy": []}
    with executing(native.run):
        for _ in range(31):
            for name, run in (("native", lambda: turn(kernel, x)), ("numpy", x.T.copy)):
                start = perf_counter()
                y = run()
                times[name].append(1e3 * (perf_counter() - start))
                np.testing.assert_array_equal(y, x.T)
    return {f"{name} ms": median(found) for name, found in times.items()}


def draw_banks(path: Path) -> bool:
    """Where a column of the tile lies in the 32 banks, without and with the pad."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(11, 6), layout="constrained")
    titles = "rows of 32 words: one bank, 32 turns", "rows of 33 words: 32 banks, one turn"
    for axes, width, title in zip(figure.subplots(1, 2), (32, 33), titles, strict=True):
        row, column = np.mgrid[:32, :32]
        bank = (row * width + column) % 32
        axes.imshow(bank, cmap="viridis", interpolation="nearest")
        axes.set(title=title, xlabel="column of the tile", ylabel="row of the tile")
        for r in range(32):
            number = bank[r, READ]
            axes.text(READ, r, number, ha="center", va="center", fontsize=6.5,
                      color="black" if number > 16 else "white")
        axes.add_patch(_frame())
    figure.suptitle("Colour: the bank of each element. Framed: what a warp reads at once.")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    return True


def _frame() -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((READ - 0.5, -0.5), 1, 32, fill=False, edgecolor="crimson", linewidth=2.5)


def main() -> None:
    parser = arguments(__doc__, "04_write_a_kernel")
    args = parser.parse_args()
    h, w = (40, 70) if args.dry_run else (224, 160)
    x = np.random.default_rng(args.seed).standard_normal((h, w), np.float32)

    metrics, rows = {}, []
    for name, kernel in kernels_of(SOURCE).items():
        with tracing() as trace:
            y = turn(kernel, x)
        np.testing.assert_array_equal(y, x.T)
        trace.raise_findings()
        metrics[name] = costs(trace)
        rows.append([name, *(f"{cost:.2f}" for cost in metrics[name].values())])
    print(f"{h} x {w} floats, every access counted on the CPU. Per request of a warp:\n")
    print(table(["", "sectors read", "sectors written", "turns to store", "turns to load"], rows))
    print("\nA request for 32 neighbouring floats takes 4 sectors; for words in 32 banks, 1 turn.")
    if not native.why_not():
        kernel = kernels_of(SOURCE)["transpose_naive"]
        metrics["natively"] = natively(kernel, np.tile(x, (4, 4)))
        print("\ntranspose_naive as the CPU's own code: {native ms:.2f} ms for 16 times as many "
              "floats; NumPy's copy: {numpy ms:.2f} ms.".format(**metrics["natively"]))
    if draw_banks(args.out / "banks.png"):
        print(f"Drawn: {args.out / 'banks.png'}")
    print(f"Saved {write_metrics(args.out, metrics)}")


if __name__ == "__main__":
    main()
