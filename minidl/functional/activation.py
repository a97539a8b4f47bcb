"""Activations: the bends between a network's linear maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.errors import ArgumentError, message
from minidl.functional.pointwise import erf, erf_of, exp, floating, pow, square, where
from minidl.kinds import Pointwise
from minidl.tensor import Tensor


class Relu(Pointwise):
    def forward(self, x: Array) -> Array:
        return xp_of(x).maximum(x, 0)

    def slope_x(self, out: Tensor) -> Tensor:
        return Tensor(out.data > 0)


class LeakyRelu(Pointwise):
    def __init__(self, negative_slope: float):
        self.negative_slope = negative_slope

    def forward(self, x: Array) -> Array:
        return xp_of(x).where(x > 0, x, x * x.dtype.type(self.negative_slope))

    def slope_x(self, x: Tensor) -> Tensor:
        slope = xp_of(x.data).where(x.data > 0, 1.0, self.negative_slope)
        return Tensor(slope.astype(x.dtype))


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


def relu(x: Any) -> Tensor:
    """Take max(x, 0); its slope at 0 is 0."""
    return Relu()(x)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """Keep x where positive, and take ``negative_slope`` * x elsewhere."""
    return LeakyRelu(negative_slope)(floating(x))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
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
