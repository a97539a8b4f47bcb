"""Checks of derivatives, for minidl's ops and for your own functions.

    gradcheck          gradient against finite differences
    double_gradcheck   the same for the gradient of the gradient
    adjoint_check      <A x, y> = <x, A* y>, for a linear map and its adjoint
    form_check         one number from all three corners of a bilinear form

The finite difference is NumPy's, in float64, and never looks at the graph: the
function is only evaluated. An array-valued function f is weighed with random
numbers v, because (J' v) is what one walk back computes:

    d <v, f(x)> / d x[i]   =~   <v, f(x + h e_i) - f(x - h e_i)> / 2h

A function of one number is not weighed: the slopes that are told are its own.
With h = 1e-6 the difference itself is good to about 1e-9 of the function's size,
so a gradient is called wrong that is off by more than

    atol + rtol * (the largest element of the gradient)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd import enable_grad, grad, is_recording, no_grad
from minidl.compute.arrays import Array, is_array, to_device
from minidl.errors import ArgumentError, DtypeError, GradientError, message
from minidl.kinds import Bilinear, Linear
from minidl.samples import Sample
from minidl.tensor import Tensor, tensor

Function = Callable[..., Any]
"""A function of Tensors that returns a Tensor or a tuple of Tensors."""


class Compared(NamedTuple):
    """The gradient of one input, beside its finite differences, where they differ most."""

    name: str
    """The input, such as "input 0" or "parameter 'encoder.weight'"."""
    shape: tuple[int, ...]
    place: tuple[int, ...] | None
    """The element at which they differ most; None if there is no element."""
    by_graph: float
    by_differences: float


class CheckResult(NamedTuple):
    """The worst distance between a gradient and the finite differences; printed, a table."""

    error: float
    """Largest distance, relative to the largest element of the gradient or 1."""
    elements: int
    """Number of derivatives that were compared."""
    rows: tuple[Compared, ...] = ()
    """What was compared, input by input."""

    def __str__(self) -> str:
        head = ("", "shape", "worst at", "by the graph", "by differences", "off by")
        cells = [head, *(
            (r.name, str(r.shape), "-" if r.place is None else str(r.place), f"{r.by_graph:.8g}",
             f"{r.by_differences:.8g}", f"{abs(r.by_graph - r.by_differences):.1e}")
            for r in self.rows
        )]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)) for row in cells]
        total = f"{self.elements} derivatives compared; off by {self.error:.1e} of the largest or 1"
        return "\n".join([*(line.rstrip() for line in lines), total])

    def __repr__(self) -> str:
        return str(self)


SCALAR_WEIGHT = 1.5
"""The weight with which a function of one number is walked back, and by which the gradient is
divided again: a vjp that forgets the gradient it is given would not be noticed with 1."""


class FiniteDifferences:
    """The finite differences of a function at one point, to compare its gradients with."""

    def __init__(
        self, who: str, function: Function, arrays: Sequence[np.ndarray], eps: float, seed: int,
        names: Sequence[str] = (),
    ):
        self.who, self.function, self.arrays = who, function, arrays
        self.names = [*names, *(f"input {i}" for i in range(len(names), len(arrays)))]
        outputs = _evaluated(function, arrays)
        _check_repeatable(who, outputs, _evaluated(function, arrays))
        self.weights, self.alone = _weights(outputs, seed), sum(y.size for y in outputs) == 1
        self.slopes = _differences(
            lambda given: _weighed(_evaluated(function, given), self.weights), arrays, eps
        )

    def compare(self, dtype: str, atol: float, rtol: float) -> CheckResult:
        """Compare the gradient, computed in ``dtype``, with the differences, which are float64."""
        factor = SCALAR_WEIGHT if self.alone else 1.0
        analytic = _gradients(
            self.function,
            [a.astype(dtype) for a in self.arrays],
            [(w * factor).astype(dtype) for w in self.weights],
        )
        told = () if self.alone else ("both are of the sum of all outputs, each times a weight",)
        return _compared(
            f"{self.who}, {dtype}", self.names, [a / factor for a in analytic], self.slopes,
            atol, rtol, told
        )


def gradcheck(
    function: Function,
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    seed: int = 0,
) -> CheckResult:
    """Compare a function's gradient with finite differences.

    Parameters
    ----------
    function : callable, or Module
        A function of Tensors that returns a Tensor or a tuple of Tensors. It must give
        the same values whenever it is called (seed what is random in it). Of a Module the
        gradients of its parameters are checked, too: take a small one, in float64.
    inputs : sequence of arrays, Tensors or numbers, or one of them
        The point to check at, in float64. Python numbers and lists become so.
    eps : float
        The step h.
    atol, rtol : float
        An error of up to ``atol + rtol * (largest element of the gradient)`` is still
        called right. Lower ``atol`` for a function whose gradients are tiny.
    seed : int
        The seed of the weights v.

    Returns
    -------
    CheckResult
        It prints as a table of what was compared.

    Raises
    ------
    GradientError
        If the gradient is wrong, naming the input, the element and both values; or if the
        function gives other values when it is called again.
    DtypeError
        If an input or a parameter is not float64.

    Examples
    --------
    >>> import numpy as np, minidl.functional as F
    >>> from minidl.check import gradcheck
    >>> gradcheck(lambda x: F.tanh(x) * 2, [np.linspace(-1, 1, 5)]).error < 1e-8
    True
    """
    function, arrays, names = _point("gradcheck", function, inputs)
    differences = FiniteDifferences("gradcheck", function, arrays, eps, seed, names)
    return differences.compare("float64", atol, rtol)


def double_gradcheck(
    function: Function,
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-7,
    rtol: float = 1e-4,
    seed: int = 0,
) -> CheckResult:
    """Compare the gradient of a function's gradient with finite differences of the gradient.

    The gradient is a function of the inputs and of the output's weights, so that both
    ways through a vjp are checked. Parameters, result and errors are ``gradcheck``'s.
    """
    function, arrays, names = _point("double_gradcheck", function, inputs)
    gradient, both = _gradient_of(function, arrays, seed)
    names += [f"weight {i}" for i in range(len(both) - len(arrays))]
    differences = FiniteDifferences("double_gradcheck", gradient, both, eps, seed + 1, names)
    return differences.compare("float64", atol, rtol)


def adjoint_check(
    apply: Callable[[Array], Array] | Linear,
    adjoint: Callable[[Array], Array] | None = None,
    *,
    shape: Sequence[int],
    tolerance: float = 1e-10,
    seed: int = 0,
) -> float:
    """Check that two array functions are each other's adjoint: <A x, y> = <x, A* y>.

    Parameters
    ----------
    apply, adjoint : functions of arrays, or a Linear op alone
    shape : sequence of int
        The shape of x; y has that of A x.

    Returns
    -------
    float
        |<A x, y> - <x, A* y>| relative to |A x| |y|.

    Raises
    ------
    GradientError
        If it exceeds ``tolerance``.
    """
    if isinstance(apply, Linear):
        adjoint, apply = apply.adjoint, apply.apply
    if adjoint is None:
        raise ArgumentError("adjoint_check: give the adjoint too, or a Linear op")
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(tuple(shape))
    image = apply(x)
    y = rng.standard_normal(image.shape)
    back = adjoint(y)
    if back.shape != x.shape:
        raise GradientError(
            message(
                "adjoint_check: the adjoint gives another shape",
                f"x has shape {x.shape}, the adjoint of y {back.shape}",
            )
        )
    here, there = float((image * y).sum()), float((x * back).sum())
    error = abs(here - there) / max(float(np.linalg.norm(image) * np.linalg.norm(y)), 1e-300)
    if not error <= tolerance:
        raise GradientError(
            message("adjoint_check: the two maps are not each other's adjoint",
                    f"<A x, y> = {here}, <x, A* y> = {there}")
        )
    return error


def form_check(form: Bilinear, arrays: Sequence[Array], tolerance: float = 1e-10) -> float:
    """Check that the three corners of a form give one number, <corner, the third array>.

    ``arrays`` are the three, in the order of ``form.letters``. Result and error are
    ``adjoint_check``'s.
    """
    named = dict(zip(form.letters, arrays, strict=True))
    values, scales = [], []
    for letter in form.letters:
        others = [a for name, a in named.items() if name != letter]
        corner = getattr(form, f"corner_{letter}")(*others)
        if corner.shape != named[letter].shape:
            raise GradientError(
                message(
                    f"form_check: corner {letter} of {type(form).__name__} has the wrong shape",
                    f"the array has shape {named[letter].shape}, the corner {corner.shape}",
                )
            )
        values.append(float((corner * named[letter]).sum()))
        scales.append(float(np.linalg.norm(corner) * np.linalg.norm(named[letter])))
    # NumPy's extremes, because Python's max and min overlook a NaN.
    error = float(np.ptp(values) / np.maximum(np.max(scales), 1e-300))
    if not error <= tolerance:
        raise GradientError(
            message(
                f"form_check: the corners of {type(form).__name__} disagree",
                *(f"corner {letter}: {v}" for letter, v in zip(form.letters, values, strict=True)),
            )
        )
    return error


TOLERANCES = {"float64": 1e-7, "float32": 1e-5}
"""The errors that ``check_sample`` accepts, absolute and relative: in float64 what a
finite difference is good for, in float32 a hundred roundings of 6e-8."""


def check_sample(sample: Sample, order: int, dtype: str = "float64", seed: int = 0) -> CheckResult:
    """Check one of the samples that all ops come with.

    Parameters
    ----------
    sample : Sample
    order : int
        1 checks the gradient, 2 the gradient of the gradient, and so on.
    dtype : {"float64", "float32"}
        The dtype of the derivative. The finite difference is always float64: in float32
        it would have three digits at best.

    Raises
    ------
    GradientError
        If the error exceeds ``TOLERANCES``.
    """
    return compare_sample(measure_sample(sample, order, seed), dtype)


def measure_sample(sample: Sample, order: int, seed: int = 0) -> FiniteDifferences:
    """Compute a sample's finite differences: the costly half of a check, for every dtype.

    The inputs are numbers that float32 can hold, so that every dtype is at the same point.
    """
    import minidl.functional as F

    def function(*tensors: Tensor) -> Any:
        return sample.call(F, *tensors)

    checked: Function = function
    arrays = [a.astype(np.float32).astype(np.float64) for a in sample.inputs(seed)]
    for i in range(order - 1):
        checked, arrays = _gradient_of(checked, arrays, seed + i)
    who = f"{sample.name}, order {order}"
    return FiniteDifferences(who, checked, arrays, 1e-6, seed + order - 1)


def compare_sample(measured: FiniteDifferences, dtype: str) -> CheckResult:
    """Compare a sample's derivative in this dtype with the finite differences."""
    return measured.compare(dtype, TOLERANCES[dtype], TOLERANCES[dtype])


# --- the parts ---


def _gradient_of(
    function: Function, arrays: Sequence[np.ndarray], seed: int
) -> tuple[Function, list[np.ndarray]]:
    """Return the gradient as a function of inputs and outputs' weights, and these arrays.

    Both are inputs, so that both ways through a vjp are checked.
    """
    count = len(arrays)
    with enable_grad():
        outputs = _tuple(function(*(tensor(a, requires_grad=True) for a in arrays)))
    weights = _weights([y.data for y in outputs if y.requires_grad], seed)

    def gradient(*given: Tensor) -> tuple[Tensor, ...]:
        again = is_recording()  # not when it is only evaluated, for a finite difference
        with enable_grad():
            live = [
                x if x.requires_grad else tensor(x, requires_grad=True) for x in given[:count]
            ]
            ends = [y for y in _tuple(function(*live)) if y.requires_grad]
            found = grad(ends, live, given[count:], create_graph=again, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradient, [*arrays, *weights]


def _point(
    who: str, function: Function, inputs: Any
) -> tuple[Function, list[np.ndarray], list[str]]:
    """Return a function of arrays in float64, these arrays, and their names.

    The parameters of a Module are inputs, too.
    """
    alone = isinstance(inputs, Tensor | int | float) or is_array(inputs)
    several = [inputs] if alone else list(inputs)
    several = [x.data if isinstance(x, Tensor) else x for x in several]
    arrays = [to_device(x, "cpu") if is_array(x)
              else np.asarray(x, None if isinstance(x, np.generic) else np.float64)
              for x in several]
    names = [f"input {i}" for i in range(len(arrays))]
    if hasattr(function, "named_parameters"):
        named = {n: p for n, p in function.named_parameters() if p.requires_grad}
        function = _with_parameters(function, list(named.values()), len(arrays))
        arrays += [to_device(p.data, "cpu") for p in named.values()]
        names += [f"parameter {name!r}" for name in named]
    for name, a in zip(names, arrays, strict=True):
        if a.dtype != np.float64:
            raise DtypeError(
                message(
                    f"{who}: {name} must be float64",
                    f"received {a.dtype}",
                    hint="a finite difference of rounder numbers says nothing; use "
                    + (".to" if name.startswith("parameter") else ".astype") + "(numpy.float64).",
                )
            )
    return function, arrays, names


def _with_parameters(module: Any, parameters: list[Tensor], count: int) -> Function:
    """Make a function of a module's inputs, ``count`` of them, and of its parameters."""

    def function(*given: Tensor) -> Any:
        kept = [(p.data, p.node) for p in parameters]
        try:
            for p, value in zip(parameters, given[count:], strict=True):
                p.data, p.node = value.data, value.node
            return module(*given[:count])
        finally:
            for p, (data, node) in zip(parameters, kept, strict=True):
                p.data, p.node = data, node

    return function


def _check_repeatable(who: str, first: list[np.ndarray], again: list[np.ndarray]) -> None:
    for i, (one, other) in enumerate(zip(first, again, strict=True)):
        if not np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"):
            raise GradientError(
                message(
                    f"{who}: the function is not the same at every call",
                    f"output {i} has other values when it is called again with the same inputs",
                    hint="seed what is random in it, by minidl.manual_seed inside the function; "
                    "a Module with dropout is checked in evaluation mode, .eval().",
                )
            )


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def _evaluated(function: Function, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    with no_grad():
        return [y.data for y in _tuple(function(*map(Tensor, arrays)))]


def _weights(outputs: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Draw a weight for each output: numbers that float32 can hold, the same in every dtype.

    A single number has the weight 1.
    """
    if sum(y.size for y in outputs) == 1:
        return [np.ones(y.shape) for y in outputs]
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(y.shape, np.float32).astype(np.float64) for y in outputs]


def _weighed(outputs: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> float:
    return float(sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)))


def _gradients(
    function: Function, arrays: Sequence[np.ndarray], weights: Sequence[np.ndarray]
) -> list[np.ndarray]:
    with enable_grad():
        inputs = [tensor(a, requires_grad=True) for a in arrays]
        outputs = _tuple(function(*inputs))
    pairs = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    found = grad([y for y, _ in pairs], inputs, [w for _, w in pairs], allow_unused=True)
    return [
        np.zeros_like(a) if g is None else g.data for a, g in zip(arrays, found, strict=True)
    ]


def _differences(
    value: Callable[[list[np.ndarray]], float], arrays: Sequence[np.ndarray], eps: float
) -> list[np.ndarray]:
    given = [a.copy() for a in arrays]
    results = []
    for a in given:
        slope = np.zeros_like(a)
        for place in np.ndindex(a.shape):
            middle = a[place]
            a[place] = middle + eps
            above = value(given)
            a[place] = middle - eps
            below = value(given)
            a[place] = middle
            slope[place] = (above - below) / (2 * eps)
        results.append(slope)
    return results


def _compared(
    who: str,
    names: Sequence[str],
    analytic: Sequence[np.ndarray],
    numeric: Sequence[np.ndarray],
    atol: float,
    rtol: float,
    told: tuple[str, ...] = (),
) -> CheckResult:
    """Compare gradients with differences; ``told`` are facts for the error."""
    largest = max((_largest(n) for n in numeric), default=0.0)
    allowed = atol + rtol * largest
    worst, count, rows = 0.0, 0, []
    for name, a, n in zip(names, analytic, numeric, strict=True):
        distance = abs(a - n)
        wrong = ~(distance <= allowed)  # so that a NaN is wrong
        count += a.size
        if not a.size:
            rows.append(Compared(name, a.shape, None, 0.0, 0.0))
            continue
        # A NaN is the worst of all.
        flat = int(np.where(np.isnan(distance), np.inf, distance).argmax())
        place = tuple(map(int, np.unravel_index(flat, a.shape)))
        rows.append(Compared(name, a.shape, place, float(a[place]), float(n[place])))
        if wrong.any():
            raise GradientError(
                message(
                    f"{who}: the gradient of {name} is wrong",
                    f"at element {place}: {a[place]:.10g} by the graph, "
                    f"{n[place]:.10g} by finite differences",
                    f"they differ by {distance[place]:.1e}, tolerated {allowed:.1e}",
                    *told,
                    hint="or the function is not smooth there.",
                )
            )
        worst = max(worst, _largest(distance) / max(largest, 1.0))
    return CheckResult(worst, count, tuple(rows))


def _largest(array: np.ndarray) -> float:
    """The largest finite magnitude in an array; 0 if it is empty."""
    return float(np.max(abs(array), initial=0.0, where=np.isfinite(array)))
