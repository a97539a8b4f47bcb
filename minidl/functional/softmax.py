"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Op
from minidl.compute.arrays import Array, xp_of
from minidl.compute.dtypes import total
from minidl.errors import ArgumentError
from minidl.functional.pointwise import astype, exp, floating
from minidl.functional.reduce import axes_of, sum
from minidl.tensor import Tensor


class Softmax(Op):
    """exp(x) / sum(exp(x)) along one axis; none, of a number."""

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes

    def forward(self, x: Array) -> Array:
        y = xp_of(x).exp(_shifted(x, self.axes))
        return y / total(y, self.axes, True)

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return out * (grad - sum(grad * out, self.axes, keepdims=True))


class LogSoftmax(Op):
    """x - log(sum(exp(x))) along one axis; none, of a number."""

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes

    def forward(self, x: Array) -> Array:
        shifted, xp = _shifted(x, self.axes), xp_of(x)
        return shifted - xp.log(total(xp.exp(shifted), self.axes, True))

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return grad - exp(out) * sum(grad, self.axes, keepdims=True)


def _shifted(x: Array, axes: tuple[int, ...]) -> Array:
    """Subtract the largest, which changes nothing but keeps exp from overflowing.

    Where infinity is the largest, nothing is a number, as in PyTorch.
    """
    if not x.size:
        return x
    with np.errstate(invalid="ignore"):
        return x - x.max(axis=axes, keepdims=True)


def softmax(x: Any, dim: int, dtype: Any = None) -> Tensor:
    """Make positive numbers that sum to 1 along ``dim``, in the ratios of exp(x).

    With a ``dtype`` x is converted to it first.
    """
    x, axes = _along("softmax", x, dim, dtype)
    return Softmax(axes)(x)


def log_softmax(x: Any, dim: int, dtype: Any = None) -> Tensor:
    """Take log(softmax(x)), exact where softmax itself would round to 0."""
    x, axes = _along("log_softmax", x, dim, dtype)
    return LogSoftmax(axes)(x)


def _along(who: str, x: Any, dim: int, dtype: Any) -> tuple[Tensor, tuple[int, ...]]:
    x = floating(x if dtype is None else astype(x, dtype))
    axes = axes_of(who, dim, x.data.ndim)
    if len(axes) > 1:
        raise ArgumentError(f"{who}: dim is one axis, received {dim!r}")
    return x, axes
