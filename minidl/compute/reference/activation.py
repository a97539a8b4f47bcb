"""Rectifiers: ReLU, and with another slope than 0 below 0, leaky ReLU.

``where`` would say it, too, but NumPy's is five times as slow as ``maximum``.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of


def rectify(x: Array, slope: float) -> Array:
    """Keep x where it is not below 0, and take slope * x elsewhere."""
    xp, below = xp_of(x), x * x.dtype.type(slope) if slope else 0
    return xp.maximum(x, below) if slope <= 1 else xp.minimum(x, below)


def rectify_adjoint(grad: Array, x: Array, slope: float) -> Array:
    """Keep a gradient where x is above 0, and take slope * grad elsewhere.

    Without a slope, x may be the output of ``rectify``: it is above 0 where x is.
    """
    xp, above, slope = xp_of(x), x > 0, grad.dtype.type(slope)
    if slope == 0:
        return grad * above
    return grad * (xp.maximum(above, slope) if 0 < slope <= 1 else xp.where(above, 1, slope))
