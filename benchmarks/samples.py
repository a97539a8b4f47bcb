"""Put PyTorch's own samples to minidl: on which calls do the two agree?

    python benchmarks/samples.py                    every function both have; writes results/
    python benchmarks/samples.py --only "conv*" x.sum   some of them, with every finding; no file

PyTorch tests its functions on samples of its own (``torch.testing._internal``), which were drawn
by people who never saw minidl: 0-d and empty tensors, broadcasting, every padding and reduction,
negative axes, non-contiguous memory. Each is run by both sides in float64, then in float32, int64
and bool where PyTorch has them. Compared are the values, the first derivatives by every input that
PyTorch differentiates, weighed by random numbers, and in float64 the derivatives of those; with
shapes and dtypes. A sample ends as one of

    agree      all of them equal, to 1e-9 of the largest number (float32: 1e-5)
    refused    minidl said by an error of its own what it does not take
    decided    they differ on purpose, see DECIDED
    differ     something is not equal
    crash      another error, which says nothing to the user

"F.sum" is the function, "x.sum" the method. Random functions agree if shape and dtype do.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import machine
import numpy as np
import torch

import minidl
import minidl.functional as F
from minidl.errors import MinidlError

OUTCOMES = ("agree", "refused", "decided", "differ", "crash")

TRIED = (torch.float64, torch.float32, torch.int64, torch.bool)
"""The dtypes of the samples."""

TOLERANCES = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-2}
"""The largest differences that count as equal, as shares of the largest number or of 1."""

DECIDED: dict[tuple[str, ...], str] = {
    ("F.max_unpool2d", "a gradient has other values"):
        "of values put to one place the last one stays, so it alone has a gradient",
    ("minidl.arange", "the value has another shape"):
        "PyTorch rounds the ends to integers first if the dtype is one",
    ("minidl.arange", "the value has other values"): "the same",
    ("F.local_response_norm", "the value has other values"): "the next one's reason",
    ("F.local_response_norm", "the value is float32, not int64"):
        "PyTorch rounds the answer for an image of integers to integers",
    ("F.layer_norm", "a gradient has other values", "float32"):
        "of a single value it is 0, and either side gives rounding errors of it, as large",
    **{(f"{face}.{name}", found): "PyTorch promises no order of equal elements"
       for name, found in (("topk", "result 1 has other values"),
                           ("sort", "result 1 has other values"),
                           ("argsort", "the value has other values"))
       for face in "Fx"},
}
"""What differs on purpose: the function, what is found, perhaps in which dtype alone; and why."""

METHODS = {
    name: method
    for kind in reversed(minidl.Tensor.__mro__) for name, method in vars(kind).items()
}
"""The methods of a Tensor, by name."""

LARGEST = 20_000
"""Elements of inputs beyond which a sample's second derivatives are left out, to save time."""

RANDOM = {"dropout", "dropout2d", "empty", "empty_like", "rand", "rand_like", "randint", "randn",
          "randn_like", "randperm"}
"""The functions whose values are not compared."""

ADAPTED: dict[str, Callable[..., Any]] = {
    "where": lambda face, x, condition, y: face(condition, x, y),
    "embedding": lambda face, weight, places, **settings: face(places, weight, **settings),
    "einsum": lambda face, operands, equation: face(equation, *operands),
    "T": lambda face, x: x.T,
}
"""How a sample's arguments are passed where PyTorch's samples have an order of their own."""

DTYPES = {
    torch.float64: np.float64, torch.float32: np.float32, torch.float16: np.float16,
    torch.int64: np.int64, torch.int32: np.int32, torch.int16: np.int16, torch.int8: np.int8,
    torch.uint8: np.uint8, torch.bool: np.bool_,
}


def pytorchs_ops() -> list[Any]:
    """Import PyTorch's table of functions with their samples."""
    # Its tests' module for printing expectations, which draws no sample, need not be installed.
    try:
        import expecttest  # noqa: F401
    except ImportError:
        stand_in = ModuleType("expecttest")
        stand_in.TestCase = type("TestCase", (), {})  # type: ignore[attr-defined]
        stand_in.assert_expected_inline = None  # type: ignore[attr-defined]
        sys.modules["expecttest"] = stand_in
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return op_db


@dataclass
class Row:
    """What became of the samples of one function."""

    name: str
    variant: str
    dtype: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    findings: dict[str, list[str]] = field(default_factory=dict)
    """The calls on which the two do not agree, by what was found."""

    def note(self, outcome: str, finding: str, call: str) -> None:
        """Count an outcome, and keep the call unless they agree."""
        self.counts[outcome] += 1
        if finding:
            self.findings.setdefault(f"{outcome}: {finding}", []).append(call)

    def line(self) -> str:
        """One line of the table."""
        name = f"{self.name} ({self.variant})" if self.variant else self.name
        return f"{name:<44}{sum(self.counts.values()):>7}" + "".join(
            f"{self.counts[outcome] or '-':>9}" for outcome in OUTCOMES
        )


def faces(op: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Find the function and the method of minidl that bear the name of PyTorch's."""
    of_functional = op.name.startswith("nn.functional.")
    names = [op.name.removeprefix("nn.functional."), *(a.name for a in op.aliases)]
    for name in dict.fromkeys(names):
        function = None
        if of_functional or hasattr(torch, name):  # and not a method alone, such as x.unfold
            function = getattr(F, name, None) or (not of_functional and getattr(minidl, name, None))
        if callable(function) and not isinstance(function, type):
            yield f"F.{name}" if hasattr(F, name) else f"minidl.{name}", function
        method = None if of_functional else METHODS.get(name)
        if method and method is not function:
            yield f"x.{name}", method


class Ours:
    """PyTorch's arguments made into minidl's: each tensor once."""

    def __init__(self) -> None:
        self.pairs: dict[int, tuple[torch.Tensor, minidl.Tensor]] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.pairs.setdefault(id(value), (value, self._tensor(value)))[1]
        if isinstance(value, torch.Size | tuple | list):
            made = [self(v) for v in value]
            return made if isinstance(value, list) else tuple(made)
        if isinstance(value, dict):
            return {name: self(v) for name, v in value.items()}
        if isinstance(value, torch.device):
            return value.type
        return DTYPES[value] if isinstance(value, torch.dtype) else value

    @staticmethod
    def _tensor(value: torch.Tensor) -> minidl.Tensor:
        return minidl.tensor(value.detach().numpy(), requires_grad=value.requires_grad)

    def differentiated(self) -> tuple[list[torch.Tensor], list[minidl.Tensor]]:
        """The inputs by which PyTorch differentiates, on both sides."""
        wanted = [pair for pair in self.pairs.values() if pair[0].requires_grad]
        return [t for t, _ in wanted], [m for _, m in wanted]


def flat(value: Any) -> list[Any]:
    """The tensors and numbers of a result, in their order."""
    if isinstance(value, tuple | list):
        return [piece for part in value for piece in flat(part)]
    return [value]


def array(value: Any) -> np.ndarray:
    """The values of a tensor of either side, or of a number."""
    if isinstance(value, torch.Tensor):
        return value.numpy(force=True)
    return value.data if isinstance(value, minidl.Tensor) else np.asarray(value)


def difference(who: str, ours: Any, theirs: Any, values: bool = True) -> str:
    """Say in what two results differ, or nothing."""
    a, b = array(ours), array(theirs)
    if a.shape != b.shape:
        return f"{who} has another shape"
    if a.dtype != b.dtype:
        return f"{who} is {a.dtype}, not {b.dtype}"
    if not values or not a.size:
        return ""
    if a.dtype.kind != "f":
        return "" if (a == b).all() else f"{who} has other values"
    finite = np.abs(b[np.isfinite(b)])
    allowed = TOLERANCES[str(a.dtype)] * max(1.0, float(finite.max(initial=0)))
    equal = np.isclose(a, b, rtol=0, atol=allowed, equal_nan=True)
    return "" if equal.all() else f"{who} has other values"


def weights(results: list[Any]) -> list[np.ndarray]:
    """Random weights of the elements of results, the same on both sides."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(array(r).shape).astype(array(r).dtype) for r in results]


def gradients(
    theirs: list[torch.Tensor], ours: list[Any], xs: list[torch.Tensor], ys: list[minidl.Tensor]
) -> tuple[list[Any], list[Any]]:
    """The gradients of both sides' results by their inputs; zeros where there is none."""
    pairs = [(t, o) for t, o in zip(theirs, ours, strict=True) if t.requires_grad]
    v = weights([t for t, _ in pairs])
    first = torch.autograd.grad([t for t, _ in pairs], xs, [torch.as_tensor(w) for w in v],
                                allow_unused=True, create_graph=True)
    recorded = [(o, w) for (_, o), w in zip(pairs, v, strict=True) if o.node is not None]
    mine = minidl.grad([o for o, _ in recorded], ys, [minidl.Tensor(w) for _, w in recorded],
                       create_graph=True, allow_unused=True) if recorded else [None] * len(ys)
    return ([torch.zeros_like(x) if g is None else g for x, g in zip(xs, first, strict=True)],
            [minidl.zeros_like(y) if g is None else g for y, g in zip(ys, mine, strict=True)])


def compared(op: Any, face: Callable[..., Any], name: str, sample: Any) -> str | None:
    """Run a sample on both sides: None if PyTorch refuses it, and what differs, or nothing."""
    arguments = (sample.input, *sample.args)
    ours = Ours()
    mine = ours((arguments, sample.kwargs))  # before PyTorch changes anything in place
    try:
        theirs = flat(op.op(*arguments, **sample.kwargs))
    except Exception:
        return None
    bare = name.partition(".")[2]
    passed = ADAPTED.get(bare, lambda face, *args, **settings: face(*args, **settings))
    results = flat(passed(face, *mine[0], **mine[1]))
    if len(results) != len(theirs):
        return "another number of results"
    for i, (a, b) in enumerate(zip(results, theirs, strict=True)):
        found = difference(f"result {i}" if i else "the value", a, b, bare not in RANDOM)
        if found:
            return found
    xs, ys = ours.differentiated()
    if not xs or bare in RANDOM or not any(getattr(t, "requires_grad", False) for t in theirs):
        return ""
    theirs, results = gradients(theirs, results, xs, ys)
    found = next(filter(None, map(difference, ["a gradient"] * len(xs), results, theirs)), "")
    again = op.supports_gradgrad and any(t.requires_grad for t in theirs)
    again = again and all(x.dtype == torch.float64 for x in xs)
    if found or not again or sum(x.numel() for x in xs) > LARGEST:
        return found
    try:
        second = gradients(theirs, results, xs, ys)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        if isinstance(error, MinidlError):
            raise
        return ""  # PyTorch has no second derivative here
    return next(filter(None, map(difference, ["a second derivative"] * len(xs), *second[::-1])), "")


def refusal(error: Exception) -> bool:
    """Tell whether an error says what minidl does not take."""
    if isinstance(error, TypeError) and not isinstance(error, MinidlError):  # Python's, of a call
        return any(part in str(error) for part in ("keyword argument", "positional", "multiple"))
    return isinstance(error, MinidlError | NotImplementedError)


def shown(sample: Any) -> str:
    """A sample as a call."""

    def piece(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            kind = "" if value.dtype == torch.float64 else f" {value.dtype}"
            return f"<{', '.join(map(str, value.shape))}{kind}>"
        if isinstance(value, tuple | list):
            return f"[{', '.join(map(piece, value))}]"
        return repr(value)

    settings = [f"{name}={piece(value)}" for name, value in sample.kwargs.items()]
    return f"({', '.join([*map(piece, (sample.input, *sample.args)), *settings])})"


def examined(op: Any, name: str, face: Callable[..., Any], dtype: torch.dtype) -> Row:
    """Put every sample of a function to minidl."""
    row = Row(name, op.variant_test_name, str(np.dtype(DTYPES[dtype])))
    torch.manual_seed(0)
    wanted = op.supports_autograd and dtype.is_floating_point
    for sample in op.sample_inputs("cpu", dtype, requires_grad=wanted):
        try:
            found = compared(op, face, name, sample)
        except Exception as error:
            text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            row.note("refused" if refusal(error) else "crash", text, shown(sample))
            continue
        if found is not None:
            decided = (name, found) in DECIDED or (name, found, row.dtype) in DECIDED
            differ = "decided" if decided else "differ"
            row.note(differ if found else "agree", found, shown(sample))
    return row


def report(rows: list[Row]) -> dict[str, Any]:
    """The table for the file: of each finding the number of calls, and one of them."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **machine.facts(),
        "tolerances": TOLERANCES,
        "totals": {o: sum(row.counts[o] for row in rows) for o in OUTCOMES},
        "rows": [
            {"name": row.name, "variant": row.variant, "dtype": row.dtype, **row.counts,
             "findings": {f: {"calls": len(c), "one": c[0]} for f, c in row.findings.items()}}
            for row in rows
        ],
    }


def main() -> int:
    """Run what was asked for; 1 if anything differs or crashes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[],
                        help='names without "F.", or patterns such as "conv*"')
    parser.add_argument("--json", type=Path, metavar="PATH", help="where to write")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, ops = [], pytorchs_ops()
    for dtype in TRIED:
        title = str(np.dtype(DTYPES[dtype]))
        print(f"\n{title:<44}{'tried':>7}" + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
        for op, name, face in asked_for(ops, asked.only, dtype):
            rows.append(examined(op, name, face, dtype))
            print(rows[-1].line(), flush=True)
            for finding, calls in rows[-1].findings.items() if asked.only else ():
                print(f"    {finding}", *calls, sep="\n        ")
    kept = report(rows)
    print(f"\n{len({row.name for row in rows})} functions and methods: {kept['totals']}")
    if asked.json or not asked.only:
        machine.write(asked.json or machine.result_path("samples-", kept["date"]), kept)
    return int(any(kept["totals"][o] for o in ("differ", "crash")))


def asked_for(
    ops: list[Any], patterns: list[str], dtype: torch.dtype
) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """PyTorch's functions that take a dtype, with what bears their names in minidl."""
    for op in ops:
        for name, face in faces(op) if dtype in op.dtypes else ():
            called = (name, name.removeprefix("F."))
            if not patterns or any(fnmatchcase(n, p) for n in called for p in patterns):
                yield op, name, face


if __name__ == "__main__":
    sys.exit(main())
