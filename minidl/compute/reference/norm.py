"""Normalising over axes, and the derivative of it.

    y = (x - mean) * s,        s = 1 / sqrt(variance + eps)

Moving all of x alike, or stretching it, changes no y (but for eps). So the
derivative takes out of a gradient what it has of these two directions, 1 and y:

    grad_x = (grad - mean(grad) - y * mean(grad * y)) * s

which is its own adjoint.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of


def normalize(x: Array, axes: tuple[int, ...], eps: float) -> tuple[Array, Array]:
    """Return y in the shape of x, and s with ``axes`` of size 1."""
    centred = x - x.mean(axis=axes, keepdims=True, dtype=x.dtype)
    variance = (centred * centred).mean(axis=axes, keepdims=True, dtype=x.dtype)
    inverse = 1 / xp_of(x).sqrt(variance + x.dtype.type(eps))
    return centred * inverse, inverse


def normalize_adjoint(grad: Array, y: Array, inverse: Array, axes: tuple[int, ...]) -> Array:
    """Return grad_x, from the gradient of y."""
    shift = grad.mean(axis=axes, keepdims=True, dtype=grad.dtype)
    stretch = (grad * y).mean(axis=axes, keepdims=True, dtype=grad.dtype)
    return (grad - shift - y * stretch) * inverse
