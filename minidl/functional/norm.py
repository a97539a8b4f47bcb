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
from functools import lru_cache
from typing import Any
from weakref import ref

import numpy as np

from minidl.autograd import Node, Op, enable_grad, is_recording
from minidl.autograd import grad as gradients_of
from minidl.compute import reference
from minidl.compute.arrays import Array, xp_of
from minidl.compute.changes import changed
from minidl.compute.counts import whole, wholes
from minidl.compute.dispatch import run
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.pad import pad
from minidl.functional.pointwise import pow, sqrt, square
from minidl.functional.reduce import mean
from minidl.functional.shape import Reshape, moveaxis, reshape
from minidl.tensor import Tensor, as_tensor


class Normalize(Op):
    """y = (x - mean) s weight + bias, with s = 1 / sqrt(variance + eps).

    x is seen in the shape ``seen``, with statistics over ``axes`` of it; weight and bias in the
    shape ``scale``, of which axes of size 1 are repeated. Without ``scaled`` they are 1 and 0.
    """

    def __init__(
        self, seen: tuple[int, ...], axes: tuple[int, ...], scale: tuple[int, ...], eps: float,
        scaled: bool = True,
    ):
        self.seen, self.axes, self.scale, self.eps = seen, axes, scale, eps
        self.scaled = scaled
        self._found: dict[str, Array] = {}
        self._found_for: Any = None

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        y, self.mean, self.inverse = run(
            reference.normalize, x.reshape(self.seen), weight.reshape(self.scale),
            bias.reshape(self.scale), axes=self.axes, eps=self.eps,
        )
        return y.reshape(x.shape)

    def explain(self, arrays: Sequence[Array]) -> None:
        for name, array in zip(("weight", "bias"), arrays[1:], strict=True):
            if array.size != math.prod(self.scale):
                raise ShapeError(
                    message(
                        f"{self.name}: {name} does not fit x",
                        f"{name} has shape {array.shape}, x has shape {arrays[0].shape}",
                        hint=f"{name} needs {math.prod(self.scale)} elements.",
                    )
                )

    def vjp_x(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return NormalizeAdjoint(self, "x", grad)(grad, x, weight)

    def vjp_weight(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return NormalizeAdjoint(self, "weight", grad)(grad, x, weight)

    def vjp_bias(self, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        return NormalizeAdjoint(self, "bias", grad)(grad, x, weight)

    def gradient(self, of: str, visit: Any, grad: Array, x: Array, weight: Array) -> Array:
        """Compute the gradient of an input; those of the others come with it.

        They are kept until they are asked for in the same ``visit`` of a walk back, which is named
        by a weak reference to the Tensor that arrived.
        """
        if of not in self._found or self._found_for is not visit or visit() is None:
            shape = self.seen
            found = run(
                reference.normalize_adjoint, grad.reshape(shape), x.reshape(shape), self.mean,
                self.inverse, weight.reshape(self.scale), axes=self.axes, scaled=self.scaled,
            )
            found = found if isinstance(found, tuple) else (found,)
            self._found = dict(zip(("x", "weight", "bias"), found, strict=False))
            self._found_for = visit
        result = self._found.pop(of)
        self._found.pop("x", None)  # large, and asked for first, if at all
        return result.reshape(x.shape if of == "x" else weight.shape)

    def composed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Compute the same out of ops that can be differentiated any number of times."""
        seen = reshape(x, self.seen)
        centred = seen - mean(seen, self.axes, keepdims=True)
        deviation = sqrt(mean(square(centred), self.axes, keepdims=True) + self.eps)
        y = centred / deviation * reshape(weight, self.scale) + reshape(bias, self.scale)
        return reshape(y, x.shape)


class NormalizeAdjoint(Op):
    """The gradient of an input of Normalize, by the gradient that arrived at its output.

    Its own derivative is that of the composed gradient.
    """

    def __init__(self, norm: Normalize, of: str, arrived: Tensor):
        self.norm, self.of, self.visit = norm, of, ref(arrived)

    def forward(self, arrived: Array, x: Array, weight: Array) -> Array:
        return self.norm.gradient(self.of, self.visit, arrived, x, weight)

    def keeps(self, i: int) -> tuple[int, ...]:
        return (0, 1, 2)

    def vjp(self, i: int, grad: Tensor, node: Node) -> Tensor | None:
        again = is_recording()
        with enable_grad():
            own = [_beginning(node.value(k), again) for k in range(3)]
            arrived, x, weight = own
            bias = Tensor(xp_of(x.data).zeros_like(weight.data)).requires_grad_()
            inputs = {"x": x, "weight": weight, "bias": bias}
            y = self.norm.composed(**inputs)
            (gradient,) = gradients_of(y, inputs[self.of], arrived, create_graph=True)
            assert gradient is not None
            return gradients_of(gradient, own[i], grad, again, allow_unused=True)[0]


def _beginning(x: Tensor, again: bool) -> Tensor:
    """A Tensor at which a walk back ends; if ``again``, the next one goes on from it."""
    if again and x.requires_grad:
        return Reshape(x.shape, x.shape)(x)
    return x.detach().requires_grad_()


def _normalized(
    x: Tensor, seen: tuple[int, ...], axes: tuple[int, ...], eps: float, weight: Any, bias: Any,
    scale: tuple[int, ...],
) -> tuple[Tensor, Normalize]:
    """Normalise x, as Normalize does; also return the op, which knows the statistics."""
    given = [None if t is None else as_tensor(t) for t in (weight, bias)]
    if any(t is not None and t.dtype != x.dtype for t in given):  # their dtype may be the wider
        y, norm = _normalized(x, seen, axes, eps, None, None, scale)
        return reshape(_affine(reshape(y, seen), weight, bias, scale), x.shape), norm
    scaled = any(t is not None for t in given)
    shape = tuple(scale) if scaled else (1,) * len(seen)
    scales = [
        Tensor(_constant(xp_of(x.data), math.prod(shape), value, x.dtype)) if t is None else t
        for value, t in zip((1, 0), given, strict=True)
    ]
    norm = Normalize(seen, axes, shape, eps, scaled)
    return norm(x, *scales), norm


@lru_cache(maxsize=256)
def _constant(xp: Any, size: int, value: int, dtype: Any) -> Array:
    return xp.full(size, value, dtype)


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
        If ``eps`` is negative, or not training and there are no running statistics.
    ShapeError
        If training on one value per channel.

    Notes
    -----
    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithm 1.
    """
    x = as_tensor(x)
    axes = (0, *range(2, x.ndim))
    shape = (1, -1, *[1] * (x.ndim - 2))
    if not eps >= 0:
        raise ArgumentError(
            message("batch_norm: eps, added to a variance, must be 0 or a positive number",
                    f"received {eps!r}")
        )
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
        inverse = Tensor(1 / xp.sqrt(running_var.data.reshape(shape) + x.dtype.type(eps)))
        inverse = inverse.astype(x.dtype)
        slope = inverse if weight is None else inverse * reshape(weight, shape)
        return _affine((x - Tensor(running_mean.data.reshape(shape))) * slope, None, bias, shape)
    n = x.size // max(x.shape[1], 1)
    if n <= 1:
        raise ShapeError(
            message(
                "batch_norm: training needs more than one value per channel",
                f"x has shape {x.shape}",
                hint="use a larger batch, or eval mode.",
            )
        )
    scale = (1, x.shape[1], *shape[2:])
    y, norm = _normalized(x, x.shape, axes, eps, weight, bias, scale)
    if running_mean is not None and running_var is not None:
        _move("batch_norm", momentum, running_mean, running_var, norm, n)
    return y


def _move(
    who: str, momentum: float, running_mean: Tensor, running_var: Tensor, norm: Normalize, n: int
) -> None:
    """Move running statistics, in place, towards those of n values each; of images, their mean."""
    inverse = norm.inverse.astype(np.float64)
    variance = (1 / (inverse * inverse) - norm.eps).clip(0) * (n / (n - 1))
    for running, batch in ((running_mean, norm.mean), (running_var, variance)):
        batch = batch.reshape(-1, running.data.size)
        batch = batch[0] if len(batch) == 1 else batch.mean(axis=0)
        running.data *= 1 - momentum
        running.data += (momentum * batch).astype(running.dtype)
        changed(running.data, f"{who}, which moved its running statistics")


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

    Running statistics, (C,), are moved towards the mean of the images' by ``momentum``, in place,
    and used without ``use_input_stats``. Source: Ulyanov, Vedaldi & Lempitsky 2016, "Instance
    normalization: the missing ingredient for fast stylization", equation 3.
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    x = as_tensor(x)
    axes, n = tuple(range(2, x.ndim)), math.prod(x.shape[2:])
    if not axes or n <= 1:
        raise ShapeError(
            f"instance_norm: x needs more than one pixel per channel, received shape {x.shape}"
        )
    scale = (1, x.shape[1], *[1] * len(axes))
    y, norm = _normalized(x, x.shape, axes, eps, weight, bias, scale)
    if running_mean is not None and running_var is not None:
        moved = as_tensor(running_mean), as_tensor(running_var)
        _move("instance_norm", momentum, *moved, norm, n)
    return y


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
    shape = wholes("layer_norm: a size of normalized_shape", given)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(
            message(
                "layer_norm: the last axes of x must be normalized_shape",
                f"x has shape {x.shape}, normalized_shape is {shape}",
            )
        )
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    scale = (*[1] * (x.ndim - len(shape)), *shape)
    return _normalized(x, x.shape, axes, eps, weight, bias, scale)[0]


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
    grouped = num_groups, x.shape[1] // num_groups
    seen, axes = (x.shape[0], *grouped, *x.shape[2:]), tuple(range(2, x.ndim + 1))
    scale = (1, *grouped, *[1] * (x.ndim - 2))
    return _normalized(x, seen, axes, eps, weight, bias, scale)[0]


def local_response_norm(
    x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each channel by (k + alpha mean(x^2 of ``size`` neighbouring channels)) ^ beta.

    (N, C, ...) -> (N, C, ...). Source: Krizhevsky, Sutskever & Hinton 2012,
    "ImageNet classification with deep convolutional neural networks", section
    3.3, which has the sum in place of the mean; this is PyTorch's reading.
    """
    x = as_tensor(x)
    if whole("local_response_norm: size", size) < 1 or x.ndim < 2:
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
