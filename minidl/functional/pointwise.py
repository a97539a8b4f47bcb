"""Functions of one element at a time: arithmetic, powers, choices.

Each op below is two or three lines: what it computes, and its slope. Read a
slope as the calculus book writes it; ``out`` is the op's own output, used where
the derivative is shorter in terms of it. Slopes are made of Tensors, so they
have slopes themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from minidl.compute import arrays
from minidl.compute.arrays import Array, xp_of
from minidl.compute.dtypes import common_dtype
from minidl.compute.passes import LARGE, combine
from minidl.errors import ArgumentError, message
from minidl.kinds import Corner, Linear, Multiply, Pointwise, check_shapes
from minidl.matching import match
from minidl.tensor import Tensor, as_tensor, default_dtype


def floating(x: Any) -> Tensor:
    """Make a value a Tensor of a floating dtype; integers become float32."""
    given = as_tensor(x)
    return given if given.dtype.kind == "f" else given.astype(default_dtype)


# --- arithmetic ---


class Add(Pointwise):
    def forward(self, x: Array, y: Array) -> Array:
        return x + y if x.size < LARGE else combine("add", x, y)

    def slope_x(self) -> int:
        return 1

    def slope_y(self) -> int:
        return 1


class Sub(Pointwise):
    def forward(self, x: Array, y: Array) -> Array:
        return x - y if x.size < LARGE else combine("subtract", x, y)

    def slope_x(self) -> int:
        return 1

    def slope_y(self) -> int:
        return -1


class Div(Pointwise):
    def forward(self, x: Array, y: Array) -> Array:
        return x / y

    def slope_x(self, y: Tensor) -> Tensor:
        return 1 / y

    def slope_y(self, y: Tensor, out: Tensor) -> Tensor:
        return -(out / y)


class Neg(Pointwise):
    def forward(self, x: Array) -> Array:
        return -x

    def slope_x(self) -> int:
        return -1


class PowNumber(Pointwise):
    """x to a fixed power p."""

    def __init__(self, p: float):
        self.p = p

    def forward(self, x: Array) -> Array:
        if x.dtype.kind != "f":
            x = x.astype(common_dtype(x, self.p))  # to NumPy a root of integers is float64
        return x * x if self.p == 2 else x**self.p

    def explain(self, arrays: Sequence[Array]) -> None:
        _check_whole_powers(np.asarray(self.p))

    def slope_x(self, x: Tensor) -> Tensor | float:
        return self.p * pow(x, self.p - 1) if self.p not in (0, 1) else self.p


class Pow(Pointwise):
    def forward(self, x: Array, y: Array) -> Array:
        return x**y

    def explain(self, arrays: Sequence[Array]) -> None:
        super().explain(arrays)
        _check_whole_powers(arrays[1])

    def slope_x(self, x: Tensor, y: Tensor) -> Tensor:
        # x ** (y - 1) is infinite at x = 0, y = 0, where x ** y is flat.
        return y * pow(x, where(y == 0, 1.0, y - 1))

    def slope_y(self, x: Tensor, out: Tensor) -> Tensor:
        return out * log(where(x == 0, 1.0, x))


def _check_whole_powers(powers: Array) -> None:
    if (powers < 0).any():
        raise ArgumentError(
            message("pow: a negative power of an integer is a fraction, not an integer",
                    hint="convert first: x.astype(minidl.float32).")
        )


def add(x: Any, y: Any, *, alpha: float = 1) -> Tensor:
    """Add x + alpha y, element by element, with broadcasting."""
    return Add()(x, y if alpha == 1 else mul(y, alpha))


def sub(x: Any, y: Any, *, alpha: float = 1) -> Tensor:
    """Subtract x - alpha y, element by element, with broadcasting."""
    return Sub()(x, y if alpha == 1 else mul(y, alpha))


def mul(x: Any, y: Any) -> Tensor:
    """Multiply x * y, element by element, with broadcasting."""
    x, y = match(x, y)
    return _product(x.data.shape, y.data.shape)(x, y)


@lru_cache(maxsize=4096)  # asked by every multiplication, at every step
def _product(x: tuple[int, ...], y: tuple[int, ...]) -> Corner:
    check_shapes("Multiply", x, y)
    shape = np.broadcast_shapes(x, y)
    return Multiply(x, y, shape).corner("y")


def div(x: Any, y: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Divide x / y, element by element, with broadcasting; integers become float32.

    Rounded down (``"floor"``) or towards 0 (``"trunc"``) integers stay integers, and there is no
    gradient.
    """
    x, y = match(x, y)
    if rounding_mode is not None:
        return _whole_quotient(x, y, rounding_mode)
    return Div()(*((x, y) if "f" in (x.dtype.kind, y.dtype.kind) else (floating(x), floating(y))))


def _whole_quotient(x: Tensor, y: Tensor, rounding_mode: str) -> Tensor:
    if rounding_mode not in ("floor", "trunc"):
        raise ArgumentError(
            message(f"div: unknown rounding_mode {rounding_mode!r}",
                    hint='choose None, "floor" or "trunc".')
        )
    check_shapes("div", x.shape, y.shape)
    a, b, xp = x.data, y.data, xp_of(x.data)
    with np.errstate(divide="ignore", invalid="ignore"):
        if rounding_mode == "trunc" and "f" in (a.dtype.kind, b.dtype.kind):
            return Tensor(xp.asarray(xp.trunc(a / b)))
        floor = xp.asarray(xp.floor_divide(a, b))
        if rounding_mode == "floor":
            return Tensor(floor)
        return Tensor(floor + ((floor < 0) & (floor * b != a)))


def neg(x: Any) -> Tensor:
    """Negate, -x."""
    return Neg()(x)


def pow(x: Any, y: Any) -> Tensor:
    """Raise x to the power y. A fixed exponent may be a Python number."""
    if isinstance(y, (int, float)):
        return PowNumber(y)(x)
    return Pow()(x, y)


def square(x: Any) -> Tensor:
    """Square, x * x."""
    return PowNumber(2)(x)


# --- elementary functions ---


class Exp(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).exp(x)

    def slope_x(self, out: Tensor) -> Tensor:
        return out


class Log(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).log(x)

    def slope_x(self, x: Tensor) -> Tensor:
        return 1 / x


class Log1p(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).log1p(x)

    def slope_x(self, x: Tensor) -> Tensor:
        return 1 / (1 + x)


class Sqrt(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).sqrt(x)

    def slope_x(self, out: Tensor) -> Tensor:
        return 0.5 / out


class Sin(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).sin(x)

    def slope_x(self, x: Tensor) -> Tensor:
        return cos(x)


class Cos(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).cos(x)

    def slope_x(self, x: Tensor) -> Tensor:
        return -sin(x)


class Erf(Pointwise):
    def forward(self, x: Array) -> Array:
        return erf_of(x)

    def slope_x(self, x: Tensor) -> Tensor:
        return 2 / math.sqrt(math.pi) * exp(-square(x))


class Abs(Pointwise):
    def forward(self, x: Array) -> Array:
        return abs_of(x)

    def slope_x(self, x: Tensor) -> Tensor:
        return sign(x)


def abs_of(x: Array) -> Array:
    """Take |x| of an array."""
    return xp_of(x).abs(x)


@cache
def _erfc_fit() -> np.ndarray:
    """Fit Chebyshev coefficients of erfc(x) exp(x^2) in t = 2 / (2 + x), 0 <= x <= 6.

    NumPy has no erf. This product is smooth and never small, so a short
    polynomial reaches double precision; beyond 6, erf is 1 to all digits.
    """

    def scaled(s: np.ndarray) -> np.ndarray:
        x = 2 / _t_of(s) - 2
        return np.array([math.erfc(v) * math.exp(v * v) for v in x])

    return np.polynomial.chebyshev.chebinterpolate(scaled, 30)


def _t_of(s: np.ndarray) -> np.ndarray:
    """Map the polynomial's [-1, 1] to t's [1/4, 1]."""
    return 0.25 + 0.375 * (s + 1)


def erf_of(x: Array) -> Array:
    """Evaluate erf of an array."""
    xp = xp_of(x)
    size = xp.minimum(xp.abs(x.astype(np.float64)), 6.0)
    s = (2 / (2 + size) - 0.25) / 0.375 - 1
    last, before = xp.zeros_like(s), xp.zeros_like(s)
    fit = _erfc_fit()
    for c in fit[:0:-1]:  # Clenshaw's recurrence
        last, before = 2 * s * last - before + c, last
    product = s * last - before + fit[0]
    return (xp.sign(x) * (1 - product * xp.exp(-size * size))).astype(x.dtype)


def exp(x: Any) -> Tensor:
    """Exponentiate, e ** x."""
    return Exp()(floating(x))


def log(x: Any) -> Tensor:
    """Take the natural logarithm."""
    return Log()(floating(x))


def log1p(x: Any) -> Tensor:
    """Take log(1 + x), exact where x is small."""
    return Log1p()(floating(x))


def sqrt(x: Any) -> Tensor:
    """Take the square root."""
    return Sqrt()(floating(x))


def sin(x: Any) -> Tensor:
    """Take the sine of radians."""
    return Sin()(floating(x))


def cos(x: Any) -> Tensor:
    """Take the cosine of radians."""
    return Cos()(floating(x))


def erf(x: Any) -> Tensor:
    """Evaluate the error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return Erf()(floating(x))


def abs(x: Any) -> Tensor:
    """Take |x|; its slope at 0 is 0."""
    return Abs()(x)


def sign(x: Any) -> Tensor:
    """Return -1, 0 or 1; carries no gradient."""
    data = as_tensor(x).data
    return Tensor(data if data.dtype.kind == "b" else xp_of(data).sign(data))


# --- choosing ---


class Maximum(Pointwise):
    def forward(self, x: Array, y: Array) -> Array:
        return xp_of(x).maximum(x, y)

    def slope_x(self, x: Tensor, y: Tensor) -> Tensor:
        return _share(x, y)

    def slope_y(self, x: Tensor, y: Tensor) -> Tensor:
        return _share(y, x)


class Minimum(Pointwise):
    def forward(self, x: Array, y: Array) -> Array:
        return xp_of(x).minimum(x, y)

    def slope_x(self, x: Tensor, y: Tensor) -> Tensor:
        return _share(y, x)

    def slope_y(self, x: Tensor, y: Tensor) -> Tensor:
        return _share(x, y)


def _share(x: Tensor, y: Tensor) -> Tensor:
    """Return 1 where x is larger, 0 where y is, and half where they are equal."""
    xp = xp_of(x.data)
    return Tensor(xp.heaviside(x.data - y.data, xp.asarray(0.5, x.dtype)))


class Clip(Pointwise):
    """x between two numbers; flat outside."""

    def __init__(self, low: float | None, high: float | None):
        # NumPy's float64 is a float, too, but would widen float32.
        self.low, self.high = [float(b) if isinstance(b, float) else b for b in (low, high)]

    def forward(self, x: Array) -> Array:
        if x.dtype.kind != "f":  # to NumPy integers beside a float are float64
            x = x.astype(common_dtype(x, *[b for b in (self.low, self.high) if b is not None]))
        return xp_of(x).clip(x, self.low, self.high)

    def slope_x(self, x: Tensor) -> Tensor:
        xp = xp_of(x.data)
        inside = xp.ones(x.shape, bool)
        if self.low is not None:
            inside &= x.data >= self.low
        if self.high is not None:
            inside &= x.data <= self.high
        return Tensor(inside)


class Where(Pointwise):
    """x where a fixed condition holds, y elsewhere."""

    def __init__(self, condition: Array):
        self.condition = condition

    def forward(self, x: Array, y: Array) -> Array:
        return xp_of(x).where(self.condition, x, y)

    def slope_x(self) -> Tensor:
        return Tensor(self.condition)

    def slope_y(self) -> Tensor:
        return Tensor(~self.condition)


def maximum(x: Any, y: Any) -> Tensor:
    """Take the larger of x and y; equal ones share the gradient."""
    return Maximum()(x, y)


def minimum(x: Any, y: Any) -> Tensor:
    """Take the smaller of x and y; equal ones share the gradient."""
    return Minimum()(x, y)


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """Raise x to ``min`` and lower it to ``max``: numbers or Tensors, either may be None.

    The gradient passes where min <= x <= max.
    """
    if min is None and max is None:
        raise ArgumentError(message("clip: give min, max or both"))
    if all(bound is None or isinstance(bound, (int, float)) for bound in (min, max)):
        return Clip(min, max)(x)
    raised = x if min is None else maximum(x, min)
    return as_tensor(raised) if max is None else minimum(raised, max)


clamp = clip


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """Take x where ``condition`` holds and y elsewhere; all three broadcast."""
    return Where(as_tensor(condition).data.astype(bool))(x, y)


# --- dtype, device, copy: linear, and their adjoints go back the same way ---


class Cast(Linear):
    """Convert to another dtype."""

    def __init__(self, source: np.dtype, target: np.dtype):
        self.source, self.target = source, target

    def apply(self, x: Array) -> Array:
        return x.astype(self.target)

    def adjoint(self, y: Array) -> Array:
        return y.astype(self.source)


class Move(Linear):
    """Move to another device."""

    def __init__(self, source: str, target: str):
        self.source, self.target = source, target

    def apply(self, x: Array) -> Array:
        return arrays.to_device(x, self.target)

    def adjoint(self, y: Array) -> Array:
        return arrays.to_device(y, self.source)


class Clone(Linear):
    """Copy."""

    def apply(self, x: Array) -> Array:
        return x.copy()

    def adjoint(self, y: Array) -> Array:
        return y


def astype(x: Any, dtype: Any) -> Tensor:
    """Convert the values to another dtype. Only a floating dtype carries a gradient."""
    x, target = as_tensor(x), np.dtype(dtype)
    if x.dtype == target:
        return x
    return Cast(x.dtype, target)(x if target.kind == "f" else x.detach())


def to_device(x: Any, device: str) -> Tensor:
    """Move the values to ``"cpu"`` or ``"cuda"``."""
    x = as_tensor(x)
    return x if x.device == device else Move(x.device, device)(x)


def clone(x: Any) -> Tensor:
    """Copy the array; the gradient passes through."""
    return Clone()(x)
