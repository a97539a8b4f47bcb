"""`minidl kernels bench`: how long each rung takes: emulated, as this CPU's code, or on a GPU.

The emulator's time is the emulator's: what is fast there says nothing about a GPU. The rungs take
turns, so that a clock that changes changes for all, and medians are shown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from minidl.commands.kernels import sizing
from minidl.commands.kernels.header import header_of, path_of, write_measured
from minidl.commands.kernels.names import chosen
from minidl.commands.kernels.record import REALS
from minidl.compute import reference
from minidl.compute.dispatch import fast_functions
from minidl.cuda import native
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import executing
from minidl.errors import ArgumentError, message
from minidl.kernels import natively
from minidl.kernels.cases import Case, example, moved
from minidl.lecture.text_table import table

EXAMPLES = """examples:
  minidl kernels bench conv2d_y                              the emulator's time of each rung
  minidl kernels bench conv2d_y --native                     as this CPU's own code, beside NumPy's
  minidl kernels bench conv --device cuda                    a GPU's, into the table of conv.cu too
  minidl kernels bench conv2d_y --set C=64 O=64 H=56         on a call of this size
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="an op, a rung, a family, or all")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu",
                        help="cpu is the emulator (%(default)s)")
    parser.add_argument("--native", action="store_true",
                        help="rungs that can, as this CPU's own code; and NumPy's code")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="LETTER=SIZE", dest="sizes",
        help="sizes of the call: N=2 C=16 H=32 ...",
    )
    parser.add_argument("--dtype", choices=[*REALS], default="float32", help="%(default)s")
    parser.add_argument("--repeats", type=int, default=7, help="of each rung (%(default)s)")
    parser.add_argument(
        "--write", action=argparse.BooleanOptionalAction, default=None,
        help="write the times into the .cu file (a GPU's are, unless --set asks for other sizes)",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def main(args: argparse.Namespace) -> int:
    if args.write and args.device != "cuda":
        raise ArgumentError(
            message("--write is for times of a GPU", hint="add --device cuda.")
        )
    if args.native and args.device == "cuda":
        raise ArgumentError(message("--native is for the CPU", hint="leave out --device cuda."))
    if args.native:
        natively.require()
    if args.repeats < 1:
        raise ArgumentError(message(f"--repeats is {args.repeats}", hint="at least 1."))
    rungs = chosen(args.names)
    timed: list[Timed] = []
    for op in dict.fromkeys(rung.op for rung in rungs):
        timed += bench([rung for rung in rungs if rung.op == op], _case(op, args), args)
    if args.json:
        print(json.dumps([as_dict(result) for result in timed], indent=2))
    else:
        print(as_text(timed))
    on_gpu_as_usual = args.device == "cuda" and not args.sizes
    if args.write or (args.write is None and on_gpu_as_usual):
        for path in dict.fromkeys(path_of(rung) for rung in rungs):
            write_measured(path, cells([t for t in timed if path_of(t.rung) == path]))
    return 0


@dataclass(frozen=True)
class Timed:
    """The time of a rung on a call; None where it does not fit."""

    rung: Rung
    case: Case
    dtype: str
    device: str
    milliseconds: float | None
    why_not: str = ""


def _case(op: str, args: argparse.Namespace) -> Case:
    if args.sizes:
        return sizing.sized(op, sizing.read(op, args.sizes))
    return sizing.large(op) if args.device == "cuda" else example(op)


def bench(rungs: list[Rung], case: Case, args: argparse.Namespace) -> list[Timed]:
    """Time the rungs of an op on one call, in turns."""
    arrays, settings = moved(case.call(args.dtype), args.device)
    device = gpu_name() if args.device == "cuda" else "this CPU" if args.native else "the emulator"
    with executing(native.run) if args.native else nullcontext():
        return _bench(rungs, case, device, args, arrays, settings)


def _bench(
    rungs: list[Rung], case: Case, device: str, args: argparse.Namespace, arrays: Any, settings: Any
) -> list[Timed]:
    reasons = {rung.name: rung.why_not(*arrays, **settings) for rung in rungs}
    if args.native:
        rungs = [_by_numpy(rungs[0].op), *rungs]
        reasons |= {r.name: "threads of its file meet" for r in rungs[1:] if not r.native}
        reasons[rungs[0].name] = ""
    fitting = [rung for rung in rungs if not reasons[rung.name]]
    clock = on_cpu if args.device == "cpu" else on_gpu
    times: dict[str, list[float]] = {rung.name: [] for rung in fitting}
    for turn in range(args.repeats + 1):
        for rung in fitting:
            milliseconds = clock(partial(rung, *arrays, **settings))
            if turn:  # the first one builds, loads and warms up
                times[rung.name].append(milliseconds)
    return [
        Timed(rung, case, args.dtype, device,
              statistics.median(times[rung.name]) if rung in fitting else None,
              reasons[rung.name])
        for rung in rungs
    ]


def _by_numpy(op: str) -> Rung:
    """What computes an op without a compiler, in the place of a rung."""
    function = getattr(reference, op)

    def launch(name: str, *arrays: Any, **settings: Any) -> Any:
        return fast_functions().get(function, function)(*arrays, **settings)

    (rung,) = Ladder(op, [Rung("numpy", launch)])
    rung.name = "NumPy"
    return rung


def on_cpu(run: Callable[[], Any]) -> float:
    """The milliseconds of a call."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def on_gpu(run: Callable[[], Any]) -> float:
    """The milliseconds of a call on the GPU, by its own clock."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end))


def gpu_name() -> str:
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    return str(properties["name"].decode())


# --- what is shown and written ---


def as_text(timed: list[Timed]) -> str:
    """A table for each op."""
    parts = []
    for op in dict.fromkeys(t.rung.op for t in timed):
        rows = [t for t in timed if t.rung.op == op]
        first = rows[0]
        parts.append(f"{op}, {first.case.setting}, {first.dtype}, on {first.device}:")
        parts.append(table(["rung", "ms", "of the first"], [_row(t, first) for t in rows]))
        parts += [f"{t.rung.name} does not fit: {t.why_not}" for t in rows if t.why_not]
        parts.append("")
    if timed and timed[0].device == "the emulator":
        parts.append("These are the emulator's times, and no hint of a GPU's.")
    return "\n".join(parts).rstrip()


def _row(t: Timed, first: Timed) -> list[str]:
    if not t.milliseconds or not first.milliseconds:
        return [t.rung.name, _number(t), "-"]
    return [t.rung.name, _number(t), f"{t.milliseconds / first.milliseconds:.0%}"]


def _number(t: Timed) -> str:
    return "-" if t.milliseconds is None else f"{t.milliseconds:.3g}"


def as_dict(t: Timed) -> dict[str, Any]:
    return {
        "rung": t.rung.name, "op": t.rung.op, "level": t.rung.level, "setting": t.case.setting,
        "dtype": t.dtype, "device": t.device, "milliseconds": t.milliseconds, "why_not": t.why_not,
    }


def cells(timed: list[Timed], today: date | None = None) -> dict[str, str]:
    """What to write into the table of a file, by row: times, GPU and date.

    A row that several ops share has their times in the order of the ops.
    """
    rows: dict[str, list[Timed]] = {}
    for t in timed:
        if t.milliseconds is not None:
            rows.setdefault(header_of(path_of(t.rung)).row(t.rung).rung, []).append(t)
    day = (today or date.today()).isoformat()
    return {
        row: f"{', '.join(map(_number, found))} ms, {found[0].device}, {day}"
        for row, found in rows.items()
    }
