"""`minidl check`: every op's first and second derivatives against finite differences."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence

from minidl.check import CheckResult, compare_sample, measure_sample
from minidl.errors import ArgumentError, GradientError, message
from minidl.lecture.text_table import table
from minidl.samples import Sample, all_samples

ORDERS = (1, 2)
"""The orders of the derivatives that are checked."""

DTYPES = ("float64", "float32")
"""The dtypes that the derivatives are computed in."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the check."""
    parser.add_argument("--op", action="append", metavar="NAME", help="only this op; repeatable")
    parser.add_argument("--order", type=int, choices=ORDERS, help="only this order")
    parser.add_argument("--dtype", choices=DTYPES, help="only this dtype")
    parser.add_argument("--json", action="store_true", help="as JSON")


def main(args: argparse.Namespace) -> int:
    """Print the table op x order x dtype of worst relative errors."""
    start = time.perf_counter()
    samples = chosen(all_samples(), args.op)
    orders = (args.order,) if args.order else ORDERS
    dtypes = (args.dtype,) if args.dtype else DTYPES
    columns = [(order, dtype) for dtype in dtypes for order in orders]
    worst: dict[str, dict[tuple[int, str], float]] = {}
    failures, derivatives = [], 0
    for sample in samples:
        row = worst.setdefault(sample.op, dict.fromkeys(columns, 0.0))
        for (order, dtype), outcome in outcomes(sample, orders, dtypes):
            if isinstance(outcome, CheckResult):
                error = outcome.error
                derivatives += outcome.elements
            else:
                error = math.inf
                failures.append(outcome)
            row[order, dtype] = max(row[order, dtype], error)
    seconds = time.perf_counter() - start
    head = [f"order {order} {dtype}" for order, dtype in columns]
    if args.json:
        rows = {op: {name: e if e < math.inf else None
                     for name, e in zip(head, row.values(), strict=True)}
                for op, row in worst.items()}
        print(json.dumps({"worst": rows, "failures": failures, "derivatives": derivatives,
                          "seconds": round(seconds, 1)}, indent=2))
        return int(bool(failures))
    shown = [[op, *(f"{e:.1e}" if e < math.inf else "WRONG" for e in row.values())]
             for op, row in worst.items()]
    print(table(["op", *head], shown))
    print(f"\n{len(worst)} ops, {len(samples)} samples, {derivatives:,} derivatives compared in "
          f"{seconds:.0f} s. Errors are relative to the largest element, or to 1.")
    for failure in failures:
        print(f"\n{failure}")
    return int(bool(failures))


Outcome = CheckResult | str
"""The result of a check, or the text of what went wrong."""


def outcomes(
    sample: Sample, orders: Sequence[int], dtypes: Sequence[str]
) -> Iterator[tuple[tuple[int, str], Outcome]]:
    """Check one sample. An op that raises anything at all has failed, and the check goes on."""
    for order in (o for o in orders if o <= sample.orders):
        measured = None
        for dtype in dtypes:
            try:
                measured = measured or measure_sample(sample, order)
                yield (order, dtype), compare_sample(measured, dtype)
            except GradientError as error:
                yield (order, dtype), str(error)
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                yield (order, dtype), f"{sample.name}, order {order}, {dtype}: {told}"


def chosen(samples: Iterable[Sample], ops: list[str] | None) -> list[Sample]:
    """Choose the samples of these ops, or all.

    Raises
    ------
    ArgumentError
        If there is no such op, naming near ones.
    """
    every = list(samples)
    names = {s.op for s in every}
    for op in ops or ():
        if op not in names:
            near = difflib.get_close_matches(op, names)
            raise ArgumentError(
                message(f"check: there is no op {op!r}",
                        hint=f"did you mean {', '.join(near)}?" if near else
                        f"there are {', '.join(sorted(names))}.")
            )
    return [s for s in every if not ops or s.op in ops]
