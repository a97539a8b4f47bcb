"""Softmax and its logarithm along one axis, and the derivative of both."""

from __future__ import annotations

import numpy as np

from minidl.compute.arrays import Array, xp_of


def softmax(x: Array, axis: int, logarithmic: bool = False) -> Array:
    """Make numbers of the sum 1 in the ratios of exp(x), or take their logarithms.

    The largest x is subtracted first: that changes nothing, but keeps exp from overflowing. Where
    infinity is the largest, nothing is a number, as in PyTorch.
    """
    if not x.size:
        return x.copy()
    xp = xp_of(x)
    with np.errstate(invalid="ignore"):
        shifted = x - x.max(axis=axis, keepdims=True)
    if logarithmic:
        return shifted - xp.log(xp.exp(shifted).sum(axis, keepdims=True))
    y = xp.exp(shifted)
    return y / y.sum(axis, keepdims=True)


def softmax_adjoint(grad: Array, y: Array, axis: int, logarithmic: bool = False) -> Array:
    """Turn the gradient of y, what ``softmax`` returns, into that of x."""
    if logarithmic:
        return grad - xp_of(y).exp(y) * grad.sum(axis, keepdims=True)
    return y * (grad - (grad * y).sum(axis, keepdims=True))
