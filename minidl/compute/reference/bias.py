"""The bias of a convolution: one number per channel, and its gradient."""

from __future__ import annotations

import numpy as np

from minidl.compute.arrays import Array, xp_of


def add_bias(y: Array, bias: Array, in_place: bool = False) -> Array:
    """Add to each channel its number: (N, C, H, W), (C,) -> (N, C, H, W).

    in_place : bool
        Whether the result takes the place of y.
    """
    return xp_of(y).add(y, bias[:, None, None], out=y if in_place else None)


def channel_sums(y: Array) -> Array:
    """Sum each channel over all pixels: (N, C, H, W) -> (C,). float16 is summed in float32."""
    kept = np.float32 if y.dtype == np.float16 else y.dtype
    return y.sum((0, 2, 3), dtype=kept).astype(y.dtype, copy=False)
