"""What weights start from: fills a Tensor's array in place and returns the Tensor.

Numbers come from ``minidl.random`` and are drawn in float64, so that a seed
gives the same weights, up to rounding, whatever the dtype and the device.

A weight (O, C, K, L) has ``fan_in`` = C K L, the number of inputs that each
output sums, and ``fan_out`` = O K L.
"""

from __future__ import annotations

import math

import numpy as np

from minidl.compute.arrays import to_device
from minidl.compute.changes import changed
from minidl.errors import ArgumentError, ShapeError, message
from minidl.random import generator
from minidl.tensor import Tensor


def _fill(x: Tensor, values: np.ndarray) -> Tensor:
    x.data[...] = to_device(values.astype(x.dtype), x.device)
    changed(x.data, "an initialiser")
    return x


def uniform_(x: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Draw from the uniform distribution on [a, b)."""
    return _fill(x, a + (b - a) * np.asarray(generator().random(x.shape)))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Draw from the normal distribution."""
    return _fill(x, mean + std * np.asarray(generator().standard_normal(x.shape)))


def constant_(x: Tensor, val: float) -> Tensor:
    """Set every element to ``val``."""
    x.data[...] = val
    changed(x.data, "an initialiser")
    return x


def zeros_(x: Tensor) -> Tensor:
    """Set every element to 0."""
    return constant_(x, 0)


def ones_(x: Tensor) -> Tensor:
    """Set every element to 1."""
    return constant_(x, 1)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights before this nonlinearity keep the variance.

    Parameters
    ----------
    nonlinearity : {"linear", "conv2d", "conv_transpose2d", "sigmoid", "tanh", "relu", \
"leaky_relu", "selu"}
    param : float, optional
        The negative slope of ``"leaky_relu"``; default 0.01.

    Raises
    ------
    ArgumentError
        If the nonlinearity is none of these.
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "conv2d": 1.0,
        "conv_transpose2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ArgumentError(
            message(
                f"calculate_gain: unknown nonlinearity {nonlinearity!r}",
                hint=f"choose one of {tuple(gains)}.",
            )
        )
    return gains[nonlinearity]


def _fans(who: str, x: Tensor) -> tuple[int, int]:
    if x.ndim < 2:
        raise ShapeError(
            message(
                f"{who}: a weight needs at least the axes (O, C)",
                f"received shape {x.shape}",
                hint="fill a bias with zeros_ or uniform_.",
            )
        )
    window = math.prod(x.shape[2:])
    return x.shape[1] * window, x.shape[0] * window


def xavier_uniform_(x: Tensor, gain: float = 1.0) -> Tensor:
    """Draw uniformly, with variance gain^2 2 / (fan_in + fan_out).

    Source: Glorot & Bengio 2010, "Understanding the difficulty of training deep
    feedforward neural networks", equation 16.
    """
    bound = math.sqrt(3) * _xavier_std("xavier_uniform_", x, gain)
    return uniform_(x, -bound, bound)


def xavier_normal_(x: Tensor, gain: float = 1.0) -> Tensor:
    """Draw normally, with variance gain^2 2 / (fan_in + fan_out)."""
    return normal_(x, 0, _xavier_std("xavier_normal_", x, gain))


def _xavier_std(who: str, x: Tensor, gain: float) -> float:
    return gain * math.sqrt(2 / max(sum(_fans(who, x)), 1))


def kaiming_uniform_(
    x: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Draw uniformly, with variance gain^2 / fan.

    Parameters
    ----------
    x : Tensor, shape (O, C, ...)
    a : float
        The negative slope of ``"leaky_relu"``.
    mode : {"fan_in", "fan_out"}
        Keep the variance going forward, or that of gradients going back.
    nonlinearity : str
        One of those that ``calculate_gain`` knows.

    Raises
    ------
    ShapeError
        If x has fewer than two axes.
    ArgumentError
        If the mode or nonlinearity is unknown.

    Notes
    -----
    Source: He et al. 2015, "Delving deep into rectifiers", equations 10 and 14.
    """
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", x, a, mode, nonlinearity)
    return uniform_(x, -bound, bound)


def kaiming_normal_(
    x: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Draw normally, with variance gain^2 / fan, where ``mode`` names the fan."""
    return normal_(x, 0, _kaiming_std("kaiming_normal_", x, a, mode, nonlinearity))


def _kaiming_std(who: str, x: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(
            message(f"{who}: unknown mode {mode!r}", hint='choose "fan_in" or "fan_out".')
        )
    fan = _fans(who, x)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def fan_in_uniform_(weight: Tensor, bias: Tensor | None = None) -> None:
    """Draw both uniformly on +-1 / sqrt(fan_in of the weight), as Linear and Conv2d start.

    Source: LeCun et al. 1998, "Efficient backprop", section 4.6, with PyTorch's
    variance, 1 / (3 fan_in), which is ``kaiming_uniform_(a=sqrt(5))``.
    """
    bound = 1 / math.sqrt(max(_fans("fan_in_uniform_", weight)[0], 1))
    uniform_(weight, -bound, bound)
    if bias is not None:
        uniform_(bias, -bound, bound)


def orthogonal_(x: Tensor, gain: float = 1.0) -> Tensor:
    """Draw orthonormal rows, or columns if there are more rows, times ``gain``.

    Parameters
    ----------
    x : Tensor, shape (O, ...)
        A matrix of O rows.
    gain : float

    Raises
    ------
    ShapeError
        If x has fewer than two axes.

    Notes
    -----
    Source: Saxe, McClelland & Ganguli 2014, "Exact solutions to the nonlinear
    dynamics of learning in deep linear neural networks", section 3.
    """
    _fans("orthogonal_", x)
    if not x.size:
        return x
    rows = x.shape[0]
    columns = x.size // rows
    drawn = generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    # QR is unique only up to signs; fixing those of r makes all q equally likely
    # (Mezzadri 2007, "How to generate random matrices", section 5).
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return _fill(x, gain * (q if rows >= columns else q.T).reshape(x.shape))


def bilinear_(x: Tensor, groups: int = 1) -> Tensor:
    """Set the weight with which ConvTranspose2d enlarges by bilinear interpolation.

    Each channel goes to itself; all else is 0. For a factor of s use
    ``kernel_size = 2 * s - s % 2``, ``stride = s`` and ``padding = s // 2``.

    Parameters
    ----------
    x : Tensor, shape (C, O / groups, K, L)
    groups : int
        The layer's groups.

    Raises
    ------
    ShapeError
        If x does not have four axes, or groups do not divide C.

    Notes
    -----
    Source: Long, Shelhamer & Darrell 2015, "Fully convolutional networks for
    semantic segmentation", section 3.3.
    """
    if x.ndim != 4 or groups < 1 or x.shape[0] % groups:
        raise ShapeError(
            message(
                "bilinear_: a weight needs the axes (C, O / groups, K, L), and groups divide C",
                f"received shape {x.shape}, groups = {groups}",
            )
        )
    channels, outputs, k, l = x.shape
    values = np.zeros(x.shape)
    window = np.outer(_triangle(k), _triangle(l))
    for c in range(channels):
        o = c % (channels // groups)
        if o < outputs:
            values[c, o] = window
    return _fill(x, values)


def _triangle(taps: int) -> np.ndarray:
    """A row of taps that falls evenly from the middle, 1, to 0 just outside."""
    factor = (taps + 1) // 2
    return 1 - np.abs(np.arange(taps) - (taps - 1) / 2) / factor
