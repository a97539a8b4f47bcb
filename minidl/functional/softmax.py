"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Op
from minidl.compute.arrays import Array, xp_of
from minidl.compute.dtypes import total
from minidl.functional.pointwise import exp, floating
from minidl.functional.reduce import axes_of, sum
from minidl.tensor import Tensor


class Softmax(Op):
    """exp(x) / sum(exp(x)) along one axis."""

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x: Array) -> Array:
        y = xp_of(x).exp(_shifted(x, self.axis))
        return y / total(y, self.axis, True)

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return out * (grad - sum(grad * out, self.axis, keepdims=True))


class LogSoftmax(Op):
    """x - log(sum(exp(x))) along one axis."""

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x: Array) -> Array:
        shifted, xp = _shifted(x, self.axis), xp_of(x)
        return shifted - xp.log(total(xp.exp(shifted), self.axis, True))

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return grad - exp(out) * sum(grad, self.axis, keepdims=True)


def _shifted(x: Array, axis: int) -> Array:
    """Subtract the largest, which changes nothing but keeps exp from overflowing.

    Where infinity is the largest, nothing is a number, as in PyTorch.
    """
    if not x.size:
        return x
    with np.errstate(invalid="ignore"):
        return x - x.max(axis=axis, keepdims=True)


def softmax(x: Any, dim: int) -> Tensor:
    """Make positive numbers that sum to 1 along ``dim``, in the ratios of exp(x)."""
    x = floating(x)
    (axis,) = axes_of("softmax", dim, x.ndim)
    return Softmax(axis)(x)


def log_softmax(x: Any, dim: int) -> Tensor:
    """Take log(softmax(x)), exact where softmax itself would round to 0."""
    x = floating(x)
    (axis,) = axes_of("log_softmax", dim, x.ndim)
    return LogSoftmax(axis)(x)
