"""Activations: the bends between a network's linear maps.

Those that PyTorch can compute in place accept ``inplace``, which has no effect: x stays as it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.autograd import Op
from minidl.compute import reference
from minidl.compute.arrays import Array, xp_of
from minidl.compute.passes import pass_over
from minidl.errors import ArgumentError, DtypeError, message
from minidl.functional.pointwise import clip, erf, erf_of, exp, floating, pow, square, where
from minidl.kinds import Pointwise
from minidl.tensor import Tensor, as_tensor


class Relu(Op):
    fresh = True

    def forward(self, x: Array) -> Array:
        return pass_over(reference.rectify, x, slope=0.0)

    def vjp_x(self, grad: Tensor, out: Tensor) -> Tensor:
        return RectifyAdjoint(0.0)(grad, out.detach())


class LeakyRelu(Op):
    fresh = True

    def __init__(self, negative_slope: float):
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        return pass_over(reference.rectify, x, slope=self.negative_slope)

    def vjp_x(self, grad: Tensor, x: Tensor) -> Tensor:
        return RectifyAdjoint(self.negative_slope)(grad, x.detach())


class RectifyAdjoint(Op):
    """The gradient of ReLU or leaky ReLU. As a map of what arrives it is its own adjoint."""

    fresh = True

    def __init__(self, slope: float):
        self.slope = slope

    def forward(self, arrived: Array, x: Array) -> Array:
        return pass_over(reference.rectify_adjoint, arrived, x, slope=self.slope)

    def vjp_arrived(self, grad: Tensor, x: Tensor) -> Tensor:
        return self(grad, x)


class Elu(Pointwise):
    def __init__(self, alpha: float):
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        xp = xp_of(x)
        return xp.where(x > 0, x, x.dtype.type(self.alpha) * xp.expm1(xp.minimum(x, 0)))

    def slope_x(self, x: Tensor, out: Tensor) -> Tensor:
        return where(x > 0, 1.0, out + self.alpha)


class Gelu(Pointwise):
    """x times the probability that a standard normal variable is below x."""

    def forward(self, x: Array) -> Array:
        return x * (0.5 + 0.5 * erf_of(x * x.dtype.type(math.sqrt(0.5))))

    def slope_x(self, x: Tensor) -> Tensor:
        below = 0.5 + 0.5 * erf(x * math.sqrt(0.5))
        return below + x * exp(-0.5 * square(x)) / math.sqrt(2 * math.pi)


class Softplus(Pointwise):
    def __init__(self, beta: float, threshold: float):
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Array) -> Array:
        xp = xp_of(x)
        scaled = x * x.dtype.type(self.beta)
        smooth = xp.maximum(scaled, 0) + xp.log1p(xp.exp(-xp.abs(scaled)))
        return xp.where(scaled > self.threshold, x, smooth / x.dtype.type(self.beta))

    def slope_x(self, x: Tensor) -> Tensor:
        scaled = x * self.beta
        return where(scaled > self.threshold, 1.0, sigmoid(scaled))


class Sigmoid(Pointwise):
    def forward(self, x: Array) -> Array:
        with np.errstate(over="ignore"):  # 1 / (1 + infinity) is 0, as it should be
            return 1 / (1 + xp_of(x).exp(-x))

    def slope_x(self, out: Tensor) -> Tensor:
        return out * (1 - out)


class Tanh(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).tanh(x)

    def slope_x(self, out: Tensor) -> Tensor:
        return 1 - square(out)


class LogSigmoid(Pointwise):
    def forward(self, x: Array) -> Array:
        xp = xp_of(x)
        return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))

    def slope_x(self, x: Tensor) -> Tensor:
        return sigmoid(-x)


def relu(x: Any, inplace: bool = False) -> Tensor:
    """Take max(x, 0); its slope at 0 is 0."""
    return Relu()(x)


def leaky_relu(x: Any, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Keep x where positive, and take ``negative_slope`` * x elsewhere."""
    return LeakyRelu(negative_slope)(floating(x))


def elu(x: Any, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Keep x where positive, and take alpha * (e^x - 1) elsewhere."""
    return Elu(alpha)(floating(x))


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Multiply x by the normal distribution function of x, or its ``"tanh"`` approximation.

    Source: Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", section 2.
    """
    x = floating(x)
    if approximate == "none":
        return Gelu()(x)
    if approximate != "tanh":
        raise ArgumentError(
            message(
                f"gelu: unknown approximation {approximate!r}", hint='choose "none" or "tanh".'
            )
        )
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * pow(x, 3))
    return 0.5 * x * (1 + tanh(inner))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Take log(1 + e^(beta x)) / beta, and x itself where beta x exceeds ``threshold``."""
    return Softplus(beta, threshold)(floating(x))


def sigmoid(x: Any) -> Tensor:
    """Take 1 / (1 + e^-x)."""
    return Sigmoid()(floating(x))


def tanh(x: Any) -> Tensor:
    """Take the hyperbolic tangent."""
    return Tanh()(floating(x))


def logsigmoid(x: Any) -> Tensor:
    """Take log(sigmoid(x)), exact where sigmoid itself would round to 0."""
    return LogSigmoid()(floating(x))


def silu(x: Any, inplace: bool = False) -> Tensor:
    """Multiply x by sigmoid(x): "swish"."""
    x = floating(x)
    return x * sigmoid(x)


def mish(x: Any, inplace: bool = False) -> Tensor:
    """Multiply x by tanh(log(1 + e^x)).

    Source: Misra 2020, "Mish: a self regularized non-monotonic activation function", equation 1.
    """
    x = floating(x)
    return x * tanh(softplus(x))


def hardtanh(
    x: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Cut x off at ``min_val`` and ``max_val``, where the slope is 0.

    Integers stay integers.

    Raises
    ------
    DtypeError
        If x holds integers, and a limit is a fraction. (PyTorch cuts it off.)
    """
    x = as_tensor(x)
    if x.dtype.kind != "f":
        if int(min_val) != min_val or int(max_val) != max_val:
            raise DtypeError(
                message(f"hardtanh: x holds {x.dtype}, and a limit is a fraction",
                        f"received min_val = {min_val}, max_val = {max_val}",
                        hint="convert first: x.astype(numpy.float32).")
            )
        min_val, max_val = int(min_val), int(max_val)
    inside = (x.data > min_val) & (x.data < max_val)
    return where(inside, x, clip(x.detach(), min_val, max_val))


def relu6(x: Any, inplace: bool = False) -> Tensor:
    """Take min(max(x, 0), 6); its slope at 0 and 6 is 0."""
    return hardtanh(x, 0.0, 6.0)
