"""Rectifiers without a slope, into memory that is used again."""

from __future__ import annotations

import numpy as np

from minidl.compute import buffers, reference
from minidl.compute.arrays import Array


def rectify(x: Array, slope: float) -> Array:
    """Keep x where it is not below 0, and take slope * x elsewhere."""
    return reference.rectify(x, slope) if slope else np.maximum(x, 0, out=buffers.like(x))


def rectify_adjoint(grad: Array, x: Array, slope: float) -> Array:
    """Keep a gradient where x is above 0, and take slope * grad elsewhere."""
    if slope or grad.dtype != x.dtype:
        return reference.rectify_adjoint(grad, x, slope)
    return np.multiply(grad, x > 0, out=buffers.like(x))
