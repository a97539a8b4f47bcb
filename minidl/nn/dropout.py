"""Dropout as layers: active in training mode only."""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.errors import ArgumentError
from minidl.nn.module import Module
from minidl.tensor import Tensor


class Dropout(Module):
    """Zero each element with probability p while training, and divide the others by 1 - p.

    ``inplace`` is accepted for PyTorch's sake, and has no effect.

    Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural
    networks from overfitting", section 4.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(
                f"{type(self).__name__}: p is a probability, between 0 and 1; received {p}"
            )
        self.p, self.inplace = p, inplace

    def forward(self, x: Any) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}" + ", inplace=True" * self.inplace


class Dropout2d(Dropout):
    """Zero whole channels of (N, C, H, W) with probability p while training.

    Source: Tompson et al. 2015, "Efficient object localization using
    convolutional networks", section 3.2.
    """

    def forward(self, x: Any) -> Tensor:
        return F.dropout2d(x, self.p, self.training)
