"""Nonlinear functions of each element, and softmax, as layers."""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.errors import ArgumentError, ShapeError
from minidl.nn import init as fill
from minidl.nn.module import Module
from minidl.nn.parameter import unfilled
from minidl.tensor import Tensor, as_tensor


class InPlace(Module):
    """A layer that PyTorch can compute in place, over its input.

    Here ``inplace`` is accepted and has no effect: the input stays, and whoever kept it sees
    it as it was, which in PyTorch would have changed.
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def settings(self) -> str:
        """The other settings, as ``repr`` shows them."""
        return ""

    def extra_repr(self) -> str:
        return ", ".join(s for s in (self.settings(), "inplace=True" * self.inplace) if s)


class ReLU(InPlace):
    """The rectifier max(x, 0)."""

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class LeakyReLU(InPlace):
    """A rectifier that leaks: x where positive, ``negative_slope`` x elsewhere."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def settings(self) -> str:
        return f"negative_slope={self.negative_slope}"


class PReLU(Module):
    """A rectifier with a trained leak: x where positive, a slope times x elsewhere.

    Parameters
    ----------
    num_parameters : int
        1, or one slope per channel (axis 1).
    init : float
        The value that the slopes start from.
    dtype : optional

    Notes
    -----
    Source: He et al. 2015, "Delving deep into rectifiers", equation 1.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: Any = None):
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = unfilled(num_parameters, dtype=dtype)
        fill.constant_(self.weight, init)

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if self.num_parameters != 1 and x.shape[1:2] != (self.num_parameters,):
            raise ShapeError(
                f"PReLU: x needs {self.num_parameters} channels in axis 1, its shape is {x.shape}"
            )
        channels = (-1, *[1] * (x.ndim - 2)) if x.ndim > 1 else self.weight.shape
        slope = F.reshape(self.weight, channels if x.ndim else ())
        return F.where(x > 0, x, slope * x)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class ELU(InPlace):
    """The exponential linear unit: x where positive, alpha (e^x - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, x: Any) -> Tensor:
        return F.elu(x, self.alpha)

    def settings(self) -> str:
        return f"alpha={self.alpha}"


class SiLU(InPlace):
    """x times its logistic function, x sigmoid(x): "swish"."""

    def forward(self, x: Any) -> Tensor:
        return F.silu(x)


class Mish(InPlace):
    """x times tanh(log(1 + e^x)).

    Source: Misra 2020, "Mish: a self regularized non-monotonic activation function",
    equation 1.
    """

    def forward(self, x: Any) -> Tensor:
        return F.mish(x)


class Hardtanh(InPlace):
    """x cut off at ``min_val`` and ``max_val``, where the slope is 0."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        if not min_val < max_val:
            raise ArgumentError(
                f"{type(self).__name__}: min_val must be below max_val, received {min_val} and "
                f"{max_val}"
            )
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Tensor:
        return F.hardtanh(x, self.min_val, self.max_val)

    def settings(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class ReLU6(Hardtanh):
    """A rectifier cut off at 6: min(max(x, 0), 6)."""

    def __init__(self, inplace: bool = False):
        super().__init__(0.0, 6.0, inplace)

    def settings(self) -> str:
        return ""


class GELU(Module):
    """x times the normal distribution function of x; ``approximate="tanh"`` comes near it."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """A smooth rectifier: log(1 + e^(beta x)) / beta; x where beta x exceeds ``threshold``."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Tensor:
        return F.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """The logistic function 1 / (1 + e^-x)."""

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class LogSigmoid(Module):
    """The logarithm of sigmoid(x), without rounding to 0 in between."""

    def forward(self, x: Any) -> Tensor:
        return F.logsigmoid(x)


class Softmax(Module):
    """Positive numbers that sum to 1 along ``dim``, in the ratios of e^x."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return F.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of softmax(x), without rounding to 0 in between."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Tensor:
        return F.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
