"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

from minidl.autograd import Op
from minidl.compute.arrays import Array, xp_of
from minidl.functional.pointwise import floating
from minidl.functional.reduce import axes_of, logsumexp, sum
from minidl.tensor import Tensor


class Softmax(Op):
    """exp(x) / sum(exp(x)) along one axis."""

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x: Array) -> Array:
        # Subtracting the largest changes nothing but keeps exp from overflowing.
        y = xp_of(x).exp(x - x.max(axis=self.axis, keepdims=True)) if x.size else x.copy()
        return y / y.sum(axis=self.axis, keepdims=True, dtype=y.dtype)

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return out * (grad - sum(grad * out, self.axis, keepdims=True))


def softmax(x: Any, dim: int) -> Tensor:
    """Make positive numbers that sum to 1 along ``dim``, in the ratios of exp(x)."""
    x = floating(x)
    (axis,) = axes_of("softmax", dim, x.ndim)
    return Softmax(axis)(x)


def log_softmax(x: Any, dim: int) -> Tensor:
    """Take log(softmax(x)), exact where softmax itself would round to 0."""
    x = floating(x)
    axes_of("log_softmax", dim, x.ndim)
    return x - logsumexp(x, dim, keepdims=True)
