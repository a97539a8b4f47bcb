"""The three corners of T(a, b, y) = sum a[n, i, p] b[n, j, p] y[n, i, j], the Gram matrix's form.

    corner y   y[n, i, j] = sum over p   of a * b     the Gram matrix, where a and b are one image
    corner a   a[n, i, p] = sum over j   of b * y     the gradient of a
    corner b   b[n, j, p] = sum over i   of a * y     the gradient of b

i and j count the channels of a and b, p their pixels.
"""

from __future__ import annotations

from minidl.compute.arrays import Array


def gram_y(a: Array, b: Array) -> Array:
    """Multiply channels, (N, I, P) * (N, J, P) -> (N, I, J)."""
    return a @ b.swapaxes(-1, -2)


def gram_a(b: Array, y: Array) -> Array:
    """Mix b's channels by y, (N, J, P) * (N, I, J) -> (N, I, P)."""
    return y @ b


def gram_b(a: Array, y: Array) -> Array:
    """Mix a's channels by y, (N, I, P) * (N, I, J) -> (N, J, P)."""
    return y.swapaxes(-1, -2) @ a
