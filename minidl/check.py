"""Checks of derivatives, for minidl's ops and for your own functions.

    gradcheck          gradient against finite differences
    double_gradcheck   the same for the gradient of the gradient
    adjoint_check      <A x, y> = <x, A* y>, for a linear map and its adjoint
    form_check         one number from all three corners of a bilinear form

The finite difference is NumPy's, in float64, and never looks at the graph: the
function is only evaluated. An array-valued function f is weighed with random
numbers v, because (J' v) is what one walk back computes:

    d <v, f(x)> / d x[i]   =~   <v, f(x + h e_i) - f(x - h e_i)> / 2h

With h = 1e-6 the difference itself is good to about 1e-9 of the function's size,
so a gradient that is off by 1e-5 of the largest is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd import grad, no_grad
from minidl.compute import Array, to_device
from minidl.errors import ArgumentError, DtypeError, GradientError, message
from minidl.kinds import Bilinear, Linear
from minidl.samples import Sample
from minidl.tensor import Tensor, as_tensor, tensor

Function = Callable[..., Any]


class CheckResult(NamedTuple):
    """How far a gradient was from the finite difference, at worst."""

    error: float
    """Largest distance, relative to the largest element of the gradient or 1."""
    elements: int
    """Derivatives that were compared."""


def gradcheck(
    function: Function,
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> CheckResult:
    """Compare a function's gradient with finite differences.

    Parameters
    ----------
    function : callable
        Takes Tensors, returns a Tensor or a tuple of Tensors. It must give the same
        values whenever it is called (seed what is random in it).
    inputs : sequence of arrays or Tensors
        Where to check, in float64.
    eps : float
        The step h.
    tolerance : float
        The error that is still called right.
    seed : int
        Of the weights v.

    Returns
    -------
    CheckResult

    Raises
    ------
    GradientError
        If the gradient is wrong, naming the input, the element and both values.
    DtypeError
        If an input is not float64.

    Examples
    --------
    >>> import numpy as np, minidl.functional as F
    >>> from minidl.check import gradcheck
    >>> gradcheck(lambda x: F.tanh(x) * 2, [np.linspace(-1, 1, 5)]).error < 1e-8
    True
    """
    arrays = _doubles("gradcheck", inputs)
    weights = _weights(_evaluated(function, arrays), seed)
    analytic = _gradients(function, arrays, weights)
    numeric = _differences(
        lambda given: _weighed(_evaluated(function, given), weights), arrays, eps
    )
    return _compared("gradcheck", analytic, numeric, tolerance)


def double_gradcheck(
    function: Function,
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> CheckResult:
    """Compare the gradient of a function's gradient with finite differences of the gradient.

    Checked as a function of the inputs and of the output's weights, so that both
    ways through a vjp are. Parameters, result and errors as in ``gradcheck``.
    """
    arrays = _doubles("double_gradcheck", inputs)
    weights = _weights(_evaluated(function, arrays), seed)
    count = len(arrays)

    def gradient(*given: Tensor) -> tuple[Tensor, ...]:
        at, v = given[:count], given[count:]
        live = [x if x.requires_grad else tensor(x, requires_grad=True) for x in at]
        outputs = [y for y in _tuple(function(*live)) if y.requires_grad]
        found = grad(
            outputs, live, [w for w, y in zip(v, outputs, strict=True)], create_graph=True,
            allow_unused=True
        )
        zero = Tensor(np.zeros(()))
        return tuple(zero if g is None else g for g in found)

    live = [w for w, y in zip(weights, _live(function, arrays), strict=True) if y]
    both = [*arrays, *live]
    outer = _weights(_evaluated(gradient, both, recording=True), seed + 1)
    analytic = _gradients(gradient, both, outer)
    numeric = _differences(
        lambda given: _weighed(_evaluated(gradient, given, recording=True), outer), both, eps
    )
    return _compared("double_gradcheck", analytic, numeric, tolerance)


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
        Of x; y's is that of A x.

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

    ``arrays`` are the three, in the order of ``form.letters``. Returns and raises
    as ``adjoint_check``.
    """
    named = dict(zip(form.letters, arrays, strict=True))
    values, scale = [], 0.0
    for letter in form.letters:
        others = [a for name, a in named.items() if name != letter]
        corner = getattr(form, f"corner_{letter}")(*others)
        values.append(float((corner * named[letter]).sum()))
        scale = max(scale, float(np.linalg.norm(corner) * np.linalg.norm(named[letter])))
    error = (max(values) - min(values)) / max(scale, 1e-300)
    if not error <= tolerance:
        raise GradientError(
            message(
                f"form_check: the corners of {type(form).__name__} disagree",
                *(f"corner {letter}: {v}" for letter, v in zip(form.letters, values, strict=True)),
            )
        )
    return error


TOLERANCES = {
    ("float64", 1): 1e-7,
    ("float64", 2): 1e-7,
    ("float32", 1): 1e-5,
    ("float32", 2): 1e-5,
}
"""What ``check_sample`` calls right: in float64 what a finite difference is good for,
in float32 a hundred roundings of 6e-8."""


def check_sample(sample: Sample, order: int, dtype: str = "float64", seed: int = 0) -> CheckResult:
    """Check one of the samples that all ops come with.

    Parameters
    ----------
    sample : Sample
    order : {1, 2}
    dtype : {"float64", "float32"}
        In which the gradient is computed; the finite difference is always float64.

    Raises
    ------
    GradientError
        If the error exceeds ``TOLERANCES``.
    """
    import minidl.functional as F

    arrays = sample.inputs(seed)
    tolerance = TOLERANCES[dtype, order]
    if dtype == "float64":
        check = gradcheck if order == 1 else double_gradcheck
        return check(lambda *t: sample.call(F, *t), arrays, tolerance=tolerance)

    # The same analytic derivative in both dtypes; the float64 one has been compared above.
    arrays = [a.astype(np.float32).astype(float) for a in arrays]
    weights = _weights(_evaluated(lambda *t: sample.call(F, *t), arrays), seed)
    weights = [w.astype(np.float32).astype(float) for w in weights]
    results = []
    for kind in (np.float64, np.float32):
        at = [tensor(a.astype(kind), requires_grad=True) for a in arrays]
        out = sample.call(F, *at)
        first = grad(out, at, tensor(weights[0].astype(kind)), order == 2, allow_unused=True)
        if order == 2:
            outer = [
                (g * g).sum() for g in first if g is not None and g.requires_grad
            ]
            first = grad(outer, at, allow_unused=True) if outer else (None,) * len(at)
        results.append([np.zeros(a.shape) if g is None else g.data.astype(float)
                        for a, g in zip(arrays, first, strict=True)])
    return _compared(f"{sample.name} in float32", results[1], results[0], tolerance)


# --- the parts ---


def _doubles(who: str, inputs: Sequence[Any]) -> list[np.ndarray]:
    arrays = [to_device(as_tensor(x).data, "cpu") for x in inputs]
    for i, a in enumerate(arrays):
        if a.dtype != np.float64:
            raise DtypeError(
                message(
                    f"{who}: input {i} must be float64",
                    f"received {a.dtype}",
                    hint="a finite difference of rounder numbers says nothing; "
                    "use .astype(numpy.float64).",
                )
            )
    return arrays


def _tuple(outputs: Any) -> tuple[Tensor, ...]:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)


def _evaluated(
    function: Function, arrays: Sequence[np.ndarray], recording: bool = False
) -> list[np.ndarray]:
    tensors = [Tensor(a) for a in arrays]
    if recording:
        return [y.data for y in _tuple(function(*tensors))]
    with no_grad():
        return [y.data for y in _tuple(function(*tensors))]


def _live(function: Function, arrays: Sequence[np.ndarray]) -> list[bool]:
    """Which outputs depend on the inputs at all."""
    outputs = _tuple(function(*(tensor(a, requires_grad=True) for a in arrays)))
    return [y.requires_grad for y in outputs]


def _weights(outputs: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(y.shape) for y in outputs]


def _weighed(outputs: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> float:
    return float(sum((y * w).sum() for y, w in zip(outputs, weights, strict=True)))


def _gradients(
    function: Function, arrays: Sequence[np.ndarray], weights: Sequence[np.ndarray]
) -> list[np.ndarray]:
    inputs = [tensor(a, requires_grad=True) for a in arrays]
    outputs = _tuple(function(*inputs))
    pairs = [(y, w) for y, w in zip(outputs, weights, strict=True) if y.requires_grad]
    if not pairs:
        return [np.zeros_like(a) for a in arrays]
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
    who: str, analytic: Sequence[np.ndarray], numeric: Sequence[np.ndarray], tolerance: float
) -> CheckResult:
    scale = max([1.0, *(float(abs(n).max(initial=0)) for n in numeric)])
    worst, count = 0.0, 0
    for i, (a, n) in enumerate(zip(analytic, numeric, strict=True)):
        distance = abs(a - n) / scale
        count += a.size
        if not a.size:
            continue
        error = float(distance.max())
        worst = max(worst, error)
        if not error <= tolerance:
            # A NaN is the worst of all.
            flat = int(np.where(distance >= 0, distance, np.inf).argmax())
            place = tuple(map(int, np.unravel_index(flat, a.shape)))
            raise GradientError(
                message(
                    f"{who}: the gradient of input {i} is wrong",
                    f"at element {place}: {a[place]:.10g} by the graph, "
                    f"{n[place]:.10g} by finite differences",
                    f"relative error {error:.1e}, tolerated {tolerance:.0e}",
                    hint="or the function is not smooth there, or not the same at every call.",
                )
            )
    return CheckResult(worst, count)
