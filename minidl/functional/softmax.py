"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

from minidl.autograd import Op
from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.dispatch import run
from minidl.errors import ArgumentError
from minidl.functional.pointwise import astype, exp, floating
from minidl.functional.reduce import axes_of, sum
from minidl.functional.shape import reshape
from minidl.tensor import Tensor


class Softmax(Op):
    """exp(x) / sum(exp(x)) along one axis."""

    fresh = True
    logarithmic = False

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, x: Array) -> Array:
        return run(reference.softmax, x, axis=self.axis, logarithmic=self.logarithmic)

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return SoftmaxAdjoint(self.axis)(grad, out)


class LogSoftmax(Softmax):
    """x - log(sum(exp(x))) along one axis."""

    logarithmic = True

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return LogSoftmaxAdjoint(self.axis)(grad, out)


class SoftmaxAdjoint(Op):
    """The gradient of softmax, y (grad - sum(grad y)). As a map of grad it is its own adjoint."""

    fresh = True
    logarithmic = False

    def __init__(self, axis: int):
        self.axis = axis

    def forward(self, arrived: Array, y: Array) -> Array:
        return run(
            reference.softmax_adjoint, arrived, y, axis=self.axis, logarithmic=self.logarithmic
        )

    def vjp_arrived(self, grad: Tensor, y: Tensor) -> Tensor:
        return self(grad, y)

    def vjp_y(self, grad: Tensor, arrived: Tensor, y: Tensor) -> Tensor:
        return grad * (arrived - self.along(arrived * y)) - arrived * self.along(grad * y)

    def along(self, x: Tensor) -> Tensor:
        """Add up along the axis."""
        return sum(x, self.axis, keepdims=True)


class LogSoftmaxAdjoint(SoftmaxAdjoint):
    """The gradient of log(softmax), grad - exp(y) sum(grad)."""

    logarithmic = True

    def vjp_arrived(self, grad: Tensor, y: Tensor) -> Tensor:
        return grad - self.along(grad * exp(y))

    def vjp_y(self, grad: Tensor, arrived: Tensor, y: Tensor) -> Tensor:
        return -grad * exp(y) * self.along(arrived)


def softmax(x: Any, dim: int, dtype: Any = None) -> Tensor:
    """Make positive numbers that sum to 1 along ``dim``, in the ratios of exp(x).

    With a ``dtype`` x is converted to it first.
    """
    return _along("softmax", Softmax, x, dim, dtype)


def log_softmax(x: Any, dim: int, dtype: Any = None) -> Tensor:
    """Take log(softmax(x)), exact where softmax itself would round to 0."""
    return _along("log_softmax", LogSoftmax, x, dim, dtype)


def _along(who: str, op: type[Softmax], x: Any, dim: int, dtype: Any) -> Tensor:
    x = floating(x if dtype is None else astype(x, dtype))
    axes = axes_of(who, dim, x.data.ndim)
    if len(axes) > 1:
        raise ArgumentError(f"{who}: dim is one axis, received {dim!r}")
    return op(axes[0])(x) if axes else reshape(op(0)(reshape(x, (1,))), ())
