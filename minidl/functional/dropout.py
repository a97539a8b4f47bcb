"""Dropout: while training, set random elements to zero.

Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks
from overfitting"; scaled while training, so that nothing is left to do after.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import random
from minidl.compute.arrays import xp_of
from minidl.errors import ArgumentError, ShapeError
from minidl.tensor import Tensor, as_tensor, default_dtype


def dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each element to 0 with probability p, else divide it by 1 - p.

    ``inplace`` is accepted for PyTorch's sake, and has no effect: x stays.

    Raises
    ------
    ArgumentError
        If p is not between 0 and 1.
    """
    x = as_tensor(x)
    return _dropped("dropout", x, p, training, x.shape)


def dropout2d(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set whole channels of an image, (N, C, H, W), to 0 with probability p.

    ``inplace`` is accepted, and has no effect.

    Source: Tompson et al. 2015, "Efficient object localization using
    convolutional networks", section 3.2.
    """
    x = as_tensor(x)
    if x.ndim < 3:
        raise ShapeError(f"dropout2d: x needs the axes (N, C, H, W), received shape {x.shape}")
    return _dropped("dropout2d", x, p, training, (*x.shape[:-2], 1, 1))


def _dropped(who: str, x: Tensor, p: float, training: bool, shape: tuple[int, ...]) -> Tensor:
    if not 0 <= p <= 1:
        raise ArgumentError(f"{who}: p is a probability, between 0 and 1; received {p}")
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    kept = random.uniform(shape, device=x.device).data >= p
    xp, dtype = xp_of(kept), x.dtype if x.dtype.kind == "f" else np.dtype(default_dtype)
    # In x's order of memory, or else what follows would be computed on arrays of two orders.
    factor = xp.empty_like(x.data, dtype) if shape == x.shape else xp.empty(shape, dtype)
    xp.multiply(kept, dtype.type(1 / (1 - p)), out=factor)
    return x * Tensor(factor)
