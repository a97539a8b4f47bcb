"""Reductions: many elements into one, along chosen axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd import Op
from minidl.compute.arrays import Array, xp_of
from minidl.errors import ArgumentError, DtypeError, ShapeError, message
from minidl.functional.index import take_along_axis
from minidl.functional.pointwise import exp, floating, sqrt, square, where
from minidl.functional.shape import moveaxis, reshape
from minidl.kinds import Linear
from minidl.tensor import Tensor, as_tensor

Axis = int | tuple[int, ...] | None


def axes_of(who: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes meant, sorted, counted from the front; None means all of them."""
    if axis is None:
        return tuple(range(ndim))
    wanted = axis if isinstance(axis, (tuple, list)) else (axis,)
    for a in wanted:
        if not -ndim <= a < ndim:
            raise ArgumentError(
                message(f"{who}: axis {a} does not exist", f"x has {ndim} axes: 0 to {ndim - 1}")
            )
    return tuple(sorted({a % ndim for a in wanted}))


class Sum(Linear):
    """Add along axes, keeping them with size 1; the adjoint repeats."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...]):
        self.shape, self.axes = shape, axes

    def apply(self, x: Array) -> Array:
        return x.sum(axis=self.axes, keepdims=True, dtype=x.dtype)

    def adjoint(self, y: Array) -> Array:
        return xp_of(y).broadcast_to(y, self.shape)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum along ``axis`` (an integer, a tuple, or None for all).

    A Tensor of bool counts its True elements.
    """
    x = as_tensor(x)
    x = x.astype(int) if x.dtype.kind == "b" else x
    axes = axes_of("sum", axis, x.ndim)
    return _drop(Sum(x.shape, axes)(x), axes, keepdims)


def _drop(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    """Remove the axes that a reduction left with size 1, unless they are to stay."""
    if keepdims or not axes:
        return x
    return reshape(x, tuple(s for a, s in enumerate(x.shape) if a not in axes))


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean along ``axis``."""
    x = _real("mean", x)
    n = math.prod(x.shape[a] for a in axes_of("mean", axis, x.ndim))
    return sum(x, axis, keepdims) * (1 / n if n else math.nan)


def var(x: Any, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Tensor:
    """Variance along ``axis``: the sum of squared deviations over (n - correction).

    As in PyTorch ``correction`` is 1 by default (the unbiased estimate); NumPy's
    default is 0.
    """
    x = _real("var", x)
    n = math.prod(x.shape[a] for a in axes_of("var", axis, x.ndim))
    deviations = square(x - mean(x, axis, keepdims=True))
    return sum(deviations, axis, keepdims) * (1 / (n - correction) if n > correction else math.nan)


def std(x: Any, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Tensor:
    """Standard deviation along ``axis``, the square root of ``var``.

    Where all elements are equal, the gradient is taken to be 0.
    """
    variance = var(x, axis, keepdims, correction)
    equal = variance == 0
    return where(equal, variance, sqrt(where(equal, 1.0, variance)))


def _real(who: str, x: Any) -> Tensor:
    x = as_tensor(x)
    if x.dtype.kind != "f":
        raise DtypeError(
            message(
                f"{who}: x must be of a floating dtype",
                f"received {x.dtype}",
                hint="convert it first: x.astype(numpy.float32).",
            )
        )
    return x


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element along ``axis``; the gradient goes to the first of equal ones.

    The position of the maximum is found without a gradient; picking the element
    there is linear.
    """
    return _extreme("max", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element along ``axis``; the gradient goes to the first of equal ones."""
    return _extreme("min", x, axis, keepdims)


def _extreme(who: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    axes = axes_of(who, axis, x.ndim)
    n = math.prod(x.shape[a] for a in axes)
    if n == 0:
        raise ShapeError(
            message(f"{who}: no elements to choose from", f"x has shape {x.shape}, axes {axes}")
        )
    kept = tuple(s for a, s in enumerate(x.shape) if a not in axes)
    flat = reshape(moveaxis(x, axes, tuple(range(x.ndim - len(axes), x.ndim))), (*kept, n))
    where = getattr(flat.data, f"arg{who}")(axis=-1)[..., None]
    picked = take_along_axis(flat, where, -1)
    ones = tuple(1 if a in axes else s for a, s in enumerate(x.shape))
    return reshape(picked, ones if keepdims else kept)


class LogSumExp(Op):
    """log(sum(exp(x))) along axes, kept with size 1."""

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes

    def forward(self, x: Array) -> Array:
        xp = xp_of(x)
        if x.size == 0:
            return xp.log(xp.exp(x).sum(axis=self.axes, keepdims=True))
        top = x.max(axis=self.axes, keepdims=True)
        top = xp.where(xp.isfinite(top), top, x.dtype.type(0))
        with np.errstate(divide="ignore"):  # the log of an empty or all -inf sum is -inf
            return xp.log(xp.exp(x - top).sum(axis=self.axes, keepdims=True)) + top

    def vjp_x(self, grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
        return grad * exp(x - out)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) along ``axis``, without overflow. Its slope is the softmax."""
    x = floating(x)
    axes = axes_of("logsumexp", axis, x.ndim)
    return _drop(LogSumExp(axes)(x), axes, keepdims)
