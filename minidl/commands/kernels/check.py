"""`minidl kernels check`: is a kernel right? On the emulator, without a GPU.

Each rung is run on every case that it fits, in both dtypes: its results are compared with the
reference's, computed in float64, while every access to memory is looked at. Then the compiler's
sanitizers, which are slower, look at the cases with most accesses.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from minidl.commands.kernels.names import chosen
from minidl.cuda.compiler import compiler
from minidl.cuda.emulator.findings import Finding
from minidl.cuda.emulator.sanitize import available, sanitizing
from minidl.cuda.emulator.trace import tracing
from minidl.cuda.ladder import Rung
from minidl.errors import DeviceError, MinidlError, import_extra
from minidl.kernels.agreement import as_tuple, difference, in_double, tolerance
from minidl.kernels.cases import Call, Case, cases_of

EXAMPLES = """examples:
  minidl kernels check conv2d_y_v4_shared_tile    one rung
  minidl kernels check pool --fast                a family, without the sanitizers
  minidl kernels check all                        everything: minutes
"""

DTYPES = ("float32", "float64")
SANITIZERS = ("thread", "address")

SANITIZED = 2
"""Cases of each rung that the sanitizers look at: those with most accesses."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="an op, a rung, a family, or all")
    parser.add_argument("--fast", action="store_true", help="without the compiler's sanitizers")
    parser.add_argument("--json", action="store_true", help="as JSON")


def traceable(asker: str) -> None:
    """Refuse at once, and not after a first build, where tracing lacks something.

    Raises
    ------
    MissingExtraError
        If pyelftools is not installed.
    DeviceError
        If there is no C++ compiler.
    """
    import_extra("elftools", "kernels", asker)
    compiler()


def main(args: argparse.Namespace) -> int:
    traceable("minidl kernels check")
    start, results = time.perf_counter(), []
    for rung in chosen(args.names):
        result = check(rung, SANITIZERS if not args.fast else ())
        results.append(result)
        if not args.json:
            print(line(result), flush=True)
    bad = [result for result in results if result.problems]
    if args.json:
        print(json.dumps([as_dict(result) for result in results], indent=2))
        return int(bool(bad))
    for result in bad:
        print("", *result.problems, sep="\n")
    for mode in () if args.fast else SANITIZERS:
        if available(mode):
            print(f"\n{mode} sanitizer: skipped, {available(mode)}")
    seconds = time.perf_counter() - start
    print(f"\nRungs: {len(results)}, with findings: {len(bad)}, in {seconds:.0f} s. "
          "Errors are relative to the largest element.")
    return int(bool(bad))


@dataclass
class Checked:
    """What was found out about a rung.

    Attributes
    ----------
    rung : Rung
    errors : dict
        By dtype, the largest difference from the reference, relative to its largest element.
    cases, requests : int
        Calls that were made, and requests of warps for memory that were looked at.
    sanitized : list of str
        The sanitizers that looked, too.
    problems : list of str
        What is wrong: findings, and results that differ.
    """

    rung: Rung
    errors: dict[str, float] = field(default_factory=dict)
    cases: int = 0
    requests: int = 0
    sanitized: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def line(result: Checked) -> str:
    """A rung's result as a line of text."""
    errors = "  ".join(f"{dtype} {error:.0e}" for dtype, error in sorted(result.errors.items()))
    looked = " ".join(["traced", *result.sanitized])
    found = result.problems[0].splitlines()[0] if result.problems else "nothing found"
    return (
        f"{result.rung.name:<34} {errors:<32} {result.cases:>3} cases  "
        f"{result.requests:>10,} requests  {looked:<22}  {found}"
    )


def as_dict(result: Checked) -> dict[str, object]:
    return {
        "rung": result.rung.name, "errors": result.errors, "cases": result.cases,
        "requests": result.requests, "sanitized": result.sanitized, "problems": result.problems,
    }


def check(rung: Rung, sanitizers: tuple[str, ...] = ()) -> Checked:
    """Check a rung on all cases that it fits. Whatever it raises is a problem, not an end.

    Raises
    ------
    DeviceError
        If this machine lacks what tracing needs.
    """
    result, sizes = Checked(rung), {}
    for case, dtype, call in fitting(rung):
        try:
            sizes[case, dtype] = _compare(result, case, dtype, call)
        except DeviceError:  # something is missing here: no fault of the kernel's
            raise
        except MinidlError as error:
            result.problems.append(f"{rung.name}, {case.setting}, {dtype}: {error}")
    heaviest = sorted(sizes, key=lambda key: sizes[key])[-SANITIZED:]
    for mode in sanitizers:
        if not available(mode):
            result.sanitized.append(mode)
            for case, dtype in heaviest:
                _sanitize(result, mode, case.call(dtype))
    return result


def fitting(rung: Rung) -> Iterator[tuple[Case, str, Call]]:
    """The cases of a rung, in each dtype that it fits."""
    for case in cases_of(rung.op):
        for dtype in DTYPES:
            call = case.call(dtype)
            if not rung.why_not(*call[0], **call[1]):
                yield case, dtype, call


def _compare(result: Checked, case: Case, dtype: str, call: Call) -> int:
    """Run a case under the tracer, and note what differs; return the requests looked at."""
    arrays, settings = call
    with tracing() as trace:
        found = as_tuple(result.rung(*arrays, **settings))
    requests = sum(t.requests for rows in trace.traffic.values() for t in rows)
    result.cases += 1
    result.requests += requests
    _note(result, trace.findings)
    error = max(map(difference, found, in_double(result.rung.op, *call)))
    result.errors[dtype] = max(result.errors.get(dtype, 0.0), error)
    if error > tolerance(result.rung, dtype):
        which = f"{result.rung.name}, {case.setting}, {dtype}"
        result.problems.append(f"{which}: differs from the reference by {error:.1e}")
    return requests


def _sanitize(result: Checked, mode: str, call: Call) -> None:
    arrays, settings = call
    try:
        with sanitizing(mode) as findings:
            result.rung(*arrays, **settings)
    except MinidlError as error:
        result.problems.append(f"{result.rung.name}, {mode} sanitizer: {error}")
        return
    _note(result, findings, by=f" ({mode} sanitizer)")


def _note(result: Checked, findings: list[Finding], by: str = "") -> None:
    """Add findings to a rung's problems: the same one in several cases is there once."""
    for finding in findings:
        headline = f"{finding.kernel}: {finding.kind} at {finding.place}{by}"
        if not any(problem.startswith(headline) for problem in result.problems):
            result.problems.append(f"{headline}\n{finding.text}")
