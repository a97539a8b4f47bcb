"""Normalising over axes, then a scale and a shift, and the derivative of it.

    hat = (x - mean) * s,        s = 1 / sqrt(variance + eps)
    y = hat * weight + bias

Moving all of x alike, or stretching it, changes no y (but for eps). So the
derivative takes out of a gradient what it has of these two directions, 1 and
hat:

    g = grad * weight
    grad_x = (g - mean(g) - hat * mean(g * hat)) * s

which is its own adjoint, but for the weight. ``weight`` and ``bias`` have as
many axes as x, of its sizes or of size 1.
"""

from __future__ import annotations

import numpy as np

from minidl.compute.arrays import Array, xp_of


def normalize(
    x: Array, weight: Array, bias: Array, axes: tuple[int, ...], eps: float
) -> tuple[Array, Array, Array]:
    """Return y in the shape of x, and mean and s with ``axes`` of size 1."""
    mean = _mean(x, axes)
    centred = x - mean
    variance = _mean(centred * centred, axes)
    inverse = 1 / xp_of(x).sqrt(variance + x.dtype.type(eps))
    centred *= inverse
    centred *= weight
    centred += bias
    return centred, mean, inverse


def normalize_adjoint(
    grad: Array, x: Array, mean: Array, inverse: Array, weight: Array, axes: tuple[int, ...],
    scaled: bool = False,
) -> Array | tuple[Array, Array, Array]:
    """Return grad_x, from the gradient of y; if ``scaled`` also those of weight and bias."""
    hat = (x - mean) * inverse
    g = grad * weight
    shift = _mean(g, axes)
    stretch = _mean(g * hat, axes)
    grad_x = (g - shift - hat * stretch) * inverse
    return (grad_x, *scale_gradients(grad, x, mean, inverse, weight)) if scaled else grad_x


def _mean(x: Array, axes: tuple[int, ...]) -> Array:
    """Average over axes, which stay with size 1.

    NumPy adds up neighbours in memory pairwise, and all others one after the other, which costs a
    long sum of float32 some digits. So there the sums of rows are added up in float64.
    """
    if not axes or x.strides[axes[-1]] == x.itemsize:
        return x.mean(axis=axes, keepdims=True, dtype=x.dtype)
    rows = x.mean(axis=axes[-1:], keepdims=True, dtype=x.dtype) if len(axes) > 1 else x
    return rows.mean(axis=axes, keepdims=True, dtype=np.float64).astype(x.dtype)


def scale_gradients(
    grad: Array, x: Array, mean: Array, inverse: Array, weight: Array
) -> tuple[Array, Array]:
    """Return the gradients of weight and bias: sums over the axes along which they repeat."""
    repeated = tuple(axis for axis, size in enumerate(weight.shape) if size != x.shape[axis])
    products = grad * ((x - mean) * inverse), grad
    grad_weight, grad_bias = (
        p.sum(axis=repeated, keepdims=True, dtype=p.dtype) if repeated else p for p in products
    )
    return grad_weight, grad_bias
