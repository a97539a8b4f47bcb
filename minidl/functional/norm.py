"""Normalisation: mean 0 and variance 1 over some axes, then a scale and a shift.

    batch norm      over N, H, W     per channel
    instance norm   over H, W        per image and channel
    layer norm      over the last axes
    group norm      over the channels of a group, H, W, per image
    response norm   divides by neighbouring channels instead

The first four are one op over different axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minidl.autograd import Op
from minidl.compute import reference
from minidl.compute.arrays import Array, xp_of
from minidl.compute.changes import changed
from minidl.compute.dispatch import run
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.pointwise import pow, square
from minidl.functional.reduce import mean, sum
from minidl.functional.shape import moveaxis, pad, reshape
from minidl.tensor import Tensor, as_tensor


class Normalize(Op):
    """y = (x - mean) s, with s = 1 / sqrt(variance + eps), over axes."""

    def __init__(self, axes: tuple[int, ...], eps: float):
        self.axes, self.eps = axes, eps

    def forward(self, x: Array) -> Array:
        y, self.inverse = run(reference.normalize, x, axes=self.axes, eps=self.eps)
        return y

    def vjp_x(self, grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
        return NormalizeAdjoint(self.axes)(grad, out, InverseDeviation(self.axes, self.inverse)(x))


class InverseDeviation(Op):
    """s as a function of x, over axes kept with size 1.

    ``known`` is its value, computed when x was normalised.
    """

    def __init__(self, axes: tuple[int, ...], known: Array):
        self.axes, self.known = axes, known

    def forward(self, x: Array) -> Array:
        return self.known

    def vjp_x(self, grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
        # ds / dx = -s^3 (x - mean) / n
        n = x.size // out.size
        return (x - mean(x, self.axes, keepdims=True)) * (grad * pow(out, 3) * (-1 / n))


class NormalizeAdjoint(Op):
    """(g - mean(g) - y mean(g y)) s, of the gradient g that arrived.

    Linear in g, and its own adjoint.
    """

    def __init__(self, axes: tuple[int, ...]):
        self.axes = axes

    def forward(self, arrived: Array, y: Array, inverse: Array) -> Array:
        return run(reference.normalize_adjoint, arrived, y, inverse, axes=self.axes)

    def vjp_arrived(self, grad: Tensor, y: Tensor, inverse: Tensor) -> Tensor:
        return NormalizeAdjoint(self.axes)(grad, y, inverse)

    def vjp_y(self, grad: Tensor, arrived: Tensor, y: Tensor, inverse: Tensor) -> Tensor:
        scaled = grad * inverse
        here, there = (mean(t * y, self.axes, keepdims=True) for t in (arrived, scaled))
        return -(scaled * here + arrived * there)

    def vjp_inverse(self, grad: Tensor, arrived: Tensor, y: Tensor, inverse: Tensor) -> Tensor:
        one = Tensor(xp_of(y.data).ones_like(inverse.data))
        return sum(grad * NormalizeAdjoint(self.axes)(arrived, y, one), self.axes, keepdims=True)


def _affine(y: Tensor, weight: Any, bias: Any, shape: tuple[int, ...]) -> Tensor:
    y = y if weight is None else y * reshape(weight, shape)
    return y if bias is None else y + reshape(bias, shape)


def batch_norm(
    x: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over the batch and the image.

    (N, C, ...) -> (N, C, ...)

    Parameters
    ----------
    x : Tensor, shape (N, C) or (N, C, H, W)
    running_mean, running_var : Tensor, shape (C,), optional
        Used when not training; when training, moved towards the batch's by
        ``momentum``, in place (the variance unbiased, as in PyTorch).
    weight, bias : Tensor, shape (C,), optional
    training : bool
        Whether to use the batch's own statistics.
    momentum : float
        Share of the new batch in the running statistics.
    eps : float
        Added to the variance.

    Raises
    ------
    ArgumentError
        If not training and there are no running statistics.
    ShapeError
        If training on one value per channel.

    Notes
    -----
    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.
    """
    x = as_tensor(x)
    axes = (0, *range(2, x.ndim))
    shape = (1, -1, *[1] * (x.ndim - 2))
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: x needs the axes (N, C, ...), received shape {x.shape}")
    running_mean, running_var = (
        None if r is None else as_tensor(r) for r in (running_mean, running_var)
    )
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError(
                message(
                    "batch_norm: without training, running_mean and running_var are needed",
                    hint="pass training=True to use the batch's own statistics.",
                )
            )
        xp = xp_of(x.data)
        scale = Tensor(1 / xp.sqrt(running_var.data.reshape(shape) + x.dtype.type(eps)))
        y = (x - Tensor(running_mean.data.reshape(shape))) * scale.astype(x.dtype)
        return _affine(y, weight, bias, shape)
    n = x.size // max(x.shape[1], 1)
    if n <= 1:
        raise ShapeError(
            message(
                "batch_norm: training needs more than one value per channel",
                f"x has shape {x.shape}",
                hint="use a larger batch, or eval mode.",
            )
        )
    if running_mean is not None and running_var is not None:
        average = x.data.mean(axis=axes)
        variance = x.data.var(axis=axes) * (n / (n - 1))
        for running, batch in ((running_mean.data, average), (running_var.data, variance)):
            running *= 1 - momentum
            running += (momentum * batch).astype(running.dtype)
            changed(running, "batch_norm, which moved its running statistics")
    return _affine(Normalize(axes, eps)(x), weight, bias, shape)


def instance_norm(
    x: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each image on its own: (N, C, H, W) -> (N, C, H, W).

    Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance normalization: the
    missing ingredient for fast stylization", equation 3. Running statistics are
    not kept: passing them raises NotImplementedError.
    """
    if running_mean is not None or running_var is not None or not use_input_stats:
        raise NotImplementedError(
            "instance_norm: running_mean, running_var and use_input_stats=False"
        )
    x = as_tensor(x)
    axes = tuple(range(2, x.ndim))
    if not axes or math.prod(x.shape[2:]) <= 1:
        raise ShapeError(
            f"instance_norm: x needs more than one pixel per channel, received shape {x.shape}"
        )
    return _affine(Normalize(axes, eps)(x), weight, bias, (1, -1, *[1] * len(axes)))


def layer_norm(
    x: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last axes, whose shape is ``normalized_shape``.

    Weight and bias have that shape. Source: Ba, Kiros & Hinton 2016, "Layer
    normalization", section 3.
    """
    x = as_tensor(x)
    given = normalized_shape if isinstance(normalized_shape, (tuple, list)) else [normalized_shape]
    shape = tuple(int(s) for s in given)  # type: ignore[arg-type]
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(
            message(
                "layer_norm: the last axes of x must be normalized_shape",
                f"x has shape {x.shape}, normalized_shape is {shape}",
            )
        )
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return _affine(Normalize(axes, eps)(x), weight, bias, shape)


def group_norm(
    x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each group of channels of each image: (N, C, ...) -> (N, C, ...).

    Weight and bias have shape (C,). Source: Wu & He 2018, "Group normalization",
    section 3.
    """
    x = as_tensor(x)
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ShapeError(
            message(
                "group_norm: num_groups must divide the number of channels C",
                f"x has shape {x.shape}, read as (N, C, ...), num_groups is {num_groups}",
            )
        )
    grouped = reshape(x, (x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups))
    y = reshape(Normalize((2,), eps)(grouped), x.shape)
    return _affine(y, weight, bias, (1, -1, *[1] * (x.ndim - 2)))


def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each channel by (k + alpha mean(x^2 of ``size`` neighbouring channels)) ^ beta.

    (N, C, ...) -> (N, C, ...). Source: Krizhevsky, Sutskever & Hinton 2012,
    "ImageNet classification with deep convolutional neural networks", section
    3.3, which has the sum in place of the mean; this is PyTorch's reading.
    """
    x = as_tensor(x)
    if size < 1 or x.ndim < 2:
        raise ArgumentError(
            message(
                "local_response_norm: size must be at least 1, and x needs the axes (N, C, ...)",
                f"received size {size}, x of shape {x.shape}",
            )
        )
    squares = pad(moveaxis(square(x), (1,), (-1,)), (size // 2, (size - 1) // 2))
    channels = x.shape[1]
    total = squares[..., :channels]
    for offset in range(1, size):
        total = total + squares[..., offset : offset + channels]
    neighbours = moveaxis(total, (-1,), (1,))
    return x / pow(k + neighbours * (alpha / size), beta)
