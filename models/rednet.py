"""RED-Net: convolutions take an image apart, transposed ones put it together, with short cuts.

    x (N, C, H, W), noisy or enlarged -> y (N, C, H, W)

    c1, ..., cn          3x3 convolution, ReLU
    d1, ..., d(n-1)      3x3 transposed convolution, ReLU; then + a convolution's map, ReLU
    dn                   3x3 transposed convolution to C channels; then + x

    network   n    joined (d with c)                                        parameters, 64 wide
    RED10     5    none, not even dn with x                                   296,641
    RED20    10    d1 c9, d3 c7, d5 c5, d7 c3, d9 c1, d10 x                   665,921
    RED30    15    d1 c14, d3 c12, d5 c10, d7 c8, d9 c6, d11 c4, d13 c2,    1,035,201
                   d15 x                                                      (128 wide: 4,134,785)

There is no pooling: all maps have the size of the image, and every second transposed convolution
gets the map of its mirror image back. Gradients take the same short cuts downwards, which is why
30 layers train.

What is known from where: that RED10 has no short cuts, and that they span two layers, is in the
paper. RED30's wiring, the ReLU behind each sum (which changes nothing: both summands are at least
0) and the sum with x are as in the released network, which is 128 wide. RED20's wiring is derived
from RED30's by analogy. Initial weights are not stated; He's are our choice.

Source: Mao, Shen & Yang 2016, "Image restoration using very deep convolutional encoder-decoder
networks with symmetric skip connections", sections 3 and 4.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError, message
from minidl.nn import init
from minidl.tensor import as_tensor


class REDNet(nn.Module):
    """RED-Net, the network of the paper.

    (N, C, H, W) -> (N, C, H, W)

    Parameters
    ----------
    depth : int
        Layers, half of them transposed: 10, 20 or 30 in the paper; any even number from 4 on.
    width : int
        Channels between layers: 64 in the paper's tables, 128 in the released network.
    channels : int
        C, of the image: 1, luma or grey.
    skips : bool, optional
        Whether there are short cuts. Default: from a depth of 20 on, as in the paper.

    Attributes
    ----------
    convolutions : ModuleList of Conv2d
    deconvolutions : ModuleList of ConvTranspose2d
    radius : int
        Pixels that an output looks at on each side of its own: ``depth``.

    Raises
    ------
    ArgumentError
        If ``depth`` is odd or less than 4, or ``width`` is less than 1.
    """

    def __init__(
        self, depth: int = 30, width: int = 64, channels: int = 1, skips: bool | None = None
    ):
        super().__init__()
        if depth < 4 or depth % 2 or width < 1:
            raise ArgumentError(
                message(
                    "REDNet: depth must be even and at least 4, width at least 1",
                    f"received depth = {depth}, width = {width}",
                    hint="the paper has depths of 10, 20 and 30.",
                )
            )
        self.radius = depth
        self.skips = depth >= 20 if skips is None else skips
        n = depth // 2
        inputs = [channels, *[width] * (n - 1)]
        outputs = [*[width] * (n - 1), channels]
        self.convolutions = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1) for c in inputs)
        self.deconvolutions = nn.ModuleList(
            nn.ConvTranspose2d(width, o, 3, padding=1) for o in outputs
        )
        for layer in (*self.convolutions, *self.deconvolutions):
            # Of stride 1, a transposed convolution has 9 C incoming connections, too.
            init.normal_(layer.weight, 0, (2 / (9 * layer.in_channels)) ** 0.5)
            init.zeros_(layer.bias)

    def forward(self, x: Any) -> Tensor:
        """The restored image."""
        x = as_tensor(x)
        n = len(self.convolutions)
        y, maps = x, []
        for layer in self.convolutions:
            y = F.relu(layer(y))
            maps.append(y)
        for k, layer in enumerate(self.deconvolutions, start=1):
            y = layer(y)
            if k < n:
                y = F.relu(y)
                if self.skips and k % 2:  # c_(n-k), whose place in the list is one less
                    y = F.relu(y + maps[n - k - 1])
        return y + x if self.skips else y
