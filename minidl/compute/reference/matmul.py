"""The three corners of T(x, w, y) = sum x[..., a, b] w[..., b, c] y[..., a, c]: matrix products.

    corner y   y = x w
    corner x   x = y w'    the gradient of x
    corner w   w = x' y    the gradient of w

Axes in front count matrices; they broadcast.
"""

from __future__ import annotations

from minidl.compute.arrays import Array


def matmul_y(x: Array, w: Array) -> Array:
    """Multiply matrices, (..., A, B) * (..., B, C) -> (..., A, C)."""
    return x @ w


def matmul_x(w: Array, y: Array) -> Array:
    """Multiply by a transposed matrix, (..., B, C) * (..., A, C) -> (..., A, B)."""
    return y @ w.swapaxes(-1, -2)


def matmul_w(x: Array, y: Array) -> Array:
    """Multiply a transposed matrix, (..., A, B) * (..., A, C) -> (..., B, C)."""
    return x.swapaxes(-1, -2) @ y
