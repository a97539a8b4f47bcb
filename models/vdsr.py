"""VDSR: twenty small convolutions that find what an enlarged image lacks.

    x (N, 1, H, W), enlarged bicubically -> y = x + residual (N, 1, H, W)

    layer        channels    all 3x3, zeros around    behind it
    0            1 -> 64                              ReLU
    1, ..., 18   64 -> 64                             ReLU
    19           64 -> 1                              -           665,921 parameters, 41 x 41 pixels

An enlarged image is nearly the sharp one. A network that answers with the sharp image must carry
all of it through all layers before it can improve on it; this one starts with it, and learns the
difference (``residual=False`` is the former, for comparison). That, and gradients clipped to
[-theta / lr, theta / lr] (``minidl.optim.clip_grad_adjustable_``), allow rates of 0.1, where
SRCNN has 0.0001. One network serves all scales, if it was trained on all of them.

Here zeros around the image do no harm, since the network was trained with them.

Source: Kim, Lee & Lee 2016, "Accurate image super-resolution using very deep convolutional
networks", section 3; initial weights (He et al.) and biases as in the released files.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError
from minidl.nn import init
from minidl.tensor import as_tensor


class VDSR(nn.Module):
    """VDSR, the network of the paper.

    (N, 1, H, W) -> (N, 1, H, W)

    Parameters
    ----------
    depth : int
        Convolutions, at least 2.
    width : int
        Channels between them.
    residual : bool
        Whether x is added to what the convolutions say.
    bias : bool
        The released network has biases; some ports leave them out.

    Attributes
    ----------
    convolutions : ModuleList of Conv2d
    radius : int
        Pixels that an output looks at on each side of its own: 20.

    Raises
    ------
    ArgumentError
        If ``depth`` or ``width`` is too small.
    """

    def __init__(
        self, depth: int = 20, width: int = 64, residual: bool = True, bias: bool = True
    ):
        super().__init__()
        if depth < 2 or width < 1:
            raise ArgumentError(
                f"VDSR: depth must be at least 2 and width 1, received {depth} and {width}"
            )
        self.residual, self.radius = residual, depth
        channels = [1, *[width] * (depth - 1), 1]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(c, o, 3, padding=1, bias=bias)
            for c, o in pairwise(channels)
        )
        for layer in self.convolutions:
            init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                init.zeros_(layer.bias)

    def forward(self, x: Any) -> Tensor:
        """The sharp image."""
        x = as_tensor(x)
        *hidden, last = self.convolutions
        y = x
        for layer in hidden:
            y = F.relu(layer(y))
        return x + last(y) if self.residual else last(y)
