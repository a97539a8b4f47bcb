"""Is it right on a GPU? Every rung against NumPy, every op's derivatives, models in training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu.cases import Trial
from benchmarks.gpu.report import Rows

DTYPES = ("float32", "float64")


# --- every rung ---


def kernels(rows: Rows) -> None:
    """Check each rung on each case, in both types: near NumPy, and twice the same bits."""
    from minidl.kernels.ladders import LADDERS

    done = rows.done()
    for rung in (rung for ladder in LADDERS.values() for rung in ladder):
        if rung.name in done:
            continue
        if rows.left() < 0:
            rows.add(rung.name, None, "left out: no time")
            continue
        with rows.judged(rung.name):
            _rung(rows, rung)


def _rung(rows: Rows, rung: Any) -> None:
    from minidl.kernels.agreement import difference, in_double, tolerance
    from minidl.kernels.cases import cases_of, moved

    errors, wrong, count = dict.fromkeys(DTYPES, 0.0), [], 0
    for dtype in DTYPES:
        for case in cases_of(rung.op):
            arrays, settings = case.call(dtype)
            there, known = moved((arrays, settings), "cuda")
            if rung.why_not(*there, **known):
                continue
            count += 1
            found, again = (called(rung, there, known) for _ in range(2))
            expected = in_double(rung.op, arrays, settings)
            error = max(map(difference, found, expected))
            errors[dtype] = max(errors[dtype], error)
            if error > tolerance(rung, dtype):
                wrong.append(f"{case.setting}, {dtype}: off by {error:.1e}")
            if [a.tobytes() for a in found] != [a.tobytes() for a in again]:
                wrong.append(f"{case.setting}, {dtype}: other bits at the second time")
    told = ", ".join(f"{dtype} {error:.0e}" for dtype, error in errors.items())
    rows.add(rung.name, not wrong, f"{count} cases, {told}" + "".join(f"; {w}" for w in wrong[:3]),
             errors=errors, cases=count, wrong=wrong)


def called(function: Callable[..., Any], arrays: Any, settings: Any) -> tuple[np.ndarray, ...]:
    """The results of a call as NumPy's arrays; where that can be done, their memory was NaN."""
    import cupy

    from minidl.kernels.agreement import as_tuple

    # The pool hands freed memory out again: what a kernel forgets to write shows.
    for size in {max(a.nbytes, 1) for a in arrays}:
        cupy.full(-(-size // 4), cupy.nan, cupy.float32)
    return tuple(cupy.asnumpy(r) for r in as_tuple(function(*arrays, **settings)))


# --- derivatives ---


def gradients(rows: Rows) -> None:
    """Check derivatives of first and second order on the GPU against finite differences.

    The differences are the CPU's: they need thousands of calls, and take no derivative.
    """
    from minidl.samples import all_samples

    words = ("conv", "pool", "interpol", "sample", "norm", "gram")  # what has kernels, first
    samples = sorted(all_samples(), key=lambda s: not any(word in s.op for word in words))
    done, left_out = rows.done(), []
    for sample in samples:
        if sample.name in done:
            continue
        if rows.left() < 0:
            left_out.append(sample.name)
            continue
        with rows.judged(sample.name):
            errors = [on_both(sample, order) for order in (1, 2) if order <= sample.orders]
            rows.add(sample.name, True, "orders 1 and 2 off by at most "
                     + ", ".join(f"{error:.0e}" for error in errors), errors=errors)
    if left_out:
        rows.add("left out", None, f"no time for {len(left_out)}: {', '.join(left_out[:8])} ...")


def on_both(sample: Any, order: int) -> float:
    """Compare a derivative on the GPU with differences on the CPU; return the largest error.

    Raises
    ------
    GradientError
        If they do not agree.
    """
    from dataclasses import replace

    from minidl.check import compare_sample, measure_sample

    measured = measure_sample(sample, order)
    there = measure_nothing(replace(sample, call=moved(sample.call)), order)
    measured.function = there
    return compare_sample(measured, "float64").error


def measure_nothing(sample: Any, order: int) -> Callable[..., Any]:
    """The function that ``measure_sample`` would differentiate, without the differences."""
    import minidl.check as check
    import minidl.functional as F

    function: Callable[..., Any] = partial(sample.call, F)
    arrays = [a.astype(np.float32).astype(np.float64) for a in sample.inputs(0)]
    for i in range(order - 1):
        function, arrays = check._gradient_of(function, arrays, i)
    return function


def moved(call: Callable[..., Any]) -> Callable[..., Any]:
    """Move the Tensors of a sample's line, and what stands in it, to the GPU; results come back."""

    def there(F: Any, *tensors: Any) -> Any:
        found = call(OnGpu(F), *(t.to("cuda") for t in tensors))
        several = isinstance(found, (tuple, list))
        back = [y.to("cpu") for y in (found if several else [found])]
        return tuple(back) if several else back[0]

    return there


class OnGpu:
    """``minidl.functional``, which moves NumPy arrays among its arguments to the GPU first."""

    def __init__(self, functions: Any):
        self._functions = functions

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._functions, name)

        def call(*given: Any, **settings: Any) -> Any:
            return function(*map(_there, given), **{k: _there(v) for k, v in settings.items()})

        return call


def _there(value: Any) -> Any:
    from minidl import Tensor, tensor

    if type(value) in (list, tuple) and any(isinstance(v, Tensor) for v in value):
        return type(value)(map(_there, value))
    if isinstance(value, np.ndarray):
        return tensor(value, device="cuda")
    return value.to("cuda") if isinstance(value, Tensor) and value.device == "cpu" else value


# --- models ---


def models(rows: Rows) -> None:
    """Train every model a few steps, from the same numbers, on the CPU and on the GPU."""
    from benchmarks.gpu import cases

    for name, trial in cases.models().items():
        with rows.judged(name):
            here, there = (losses(trial, device) for device in ("cpu", "cuda"))
            error = max(abs(a - b) / abs(a) for a, b in zip(here, there, strict=True))
            told = f"losses {', '.join(f'{v:.4f}' for v in there)}, off by {error:.1e}"
            rows.add(name, error <= trial.tolerance, told, cpu=here, cuda=there)
    for name, answer in cases.answers().items():
        with rows.judged(name):
            on_cpu, on_gpu = answer("cpu"), answer("cuda")
            error = float(abs(on_cpu - on_gpu).max() / abs(on_cpu).max())
            rows.add(name, error <= 1e-3, f"off by {error:.1e}", error=error)


def losses(trial: Trial, device: str, steps: int = 4) -> list[float]:
    """The losses of the first steps: of Adam, or of gradient descent where the loss is not the
    model's own.

    Adam divides by a gradient's size, also of gradients that are rounding errors alone, as those
    of a bias ahead of batch norm.
    """
    import minidl
    import minidl.functional as F
    from minidl import optim

    minidl.manual_seed(0)
    model = trial.build().to(device)
    parameters = model.parameters()
    own = not trial.classes and trial.loss is None
    optimizer = optim.Adam(parameters) if own else optim.SGD(parameters, 1e-4)
    rng, count = np.random.default_rng(0), 32 if own else 4
    images = minidl.tensor(rng.random((count, *trial.image), np.float32), device=device)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        if trial.classes:
            scores = model(images)
            labels = rng.integers(0, trial.classes, (count, *scores.shape[2:]))
            loss = F.cross_entropy(scores, minidl.tensor(labels, device=device))
        else:
            loss = model.loss(images) if trial.loss is None else trial.loss(model, images)
        loss.backward()
        optimizer.step()
        found.append(float(loss.item()))
    return found
