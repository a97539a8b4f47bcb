"""ResNet-50-by-2: the network whose weights Garg et al. released after their paper.

    x (N, 3, H, W) -> D (N, 1, H, W), pixels of disparity on that grid

    part      what it is                                       channels  stride   skip
    conv_0    7x7, batch norm, relu; pool                      64        1
    conv_1    3x3, batch norm, relu; pool                      128       2        x 1e-6
    stage 0   3 bottlenecks of  32,  32,  128; pool            128       4        x 1e-5
    stage 1   4 bottlenecks of  64,  64,  256; pool            256       8        x 1e-4
    stage 2   6 bottlenecks of 128, 128,  512; pool            512       16       x 0.01
    stage 3   3 bottlenecks of 256, 256, 1024                  1024      32
    score     1x1 -> 1, from zero; then five times: twice as many pixels, twice the value, and
              from stride 16 to 2 the skip of that stride, 1x1 -> 1, added

At 160x608 the map of stage 3 is 5x19, and the answer 160x608 again. 6,003,269 parameters: what
the release's file of 22.9 MiB holds. To reach that number every convolution has a bias (though a
batch norm follows it), and the projection of each stage's first bottleneck has a batch norm.

All convolutions have stride 1; only the poolings (2x2, the largest) halve, and a skip leaves before
its pooling. Each skip is first multiplied by a trained number per channel, which starts tiny:
the finer, the tinier. Enlargement is bilinear and not trained.

Source: the authors' release (its network file), from which all sizes, initial values and rates are.
The 1x1 convolutions to a single channel name no filler there, which to Caffe means zeros.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ShapeError, message
from minidl.nn import init
from minidl.nn.parameter import unfilled

BLOCKS = (3, 4, 6, 3)
"""Bottlenecks of each stage."""
SKIP_SCALES = (1e-6, 1e-5, 1e-4, 1e-2)
"""Initial scales of the skips, from the finest to the coarsest."""
SCALE_RATE = 0.01
"""Learning rate of the skips' scales, as a share of the others'."""


class Bottleneck(nn.Module):
    """A residual block, relu(x + 1x1, 3x3, 1x1): (N, C, H, W) -> (N, 4 inner, H, W).

    Parameters
    ----------
    channels : int
        C.
    inner : int
        Channels between the two 1x1 convolutions.
    project : bool
        Whether x passes through a 1x1 convolution, as where the channels change.
    """

    def __init__(self, channels: int, inner: int, project: bool):
        super().__init__()
        outputs = 4 * inner
        self.inner = nn.Sequential(
            normalised(channels, inner, 1), nn.ReLU(),
            normalised(inner, inner, 3), nn.ReLU(),
            normalised(inner, outputs, 1),
        )
        self.shortcut = normalised(channels, outputs, 1) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.inner(x))


class Skip(nn.Module):
    """A scale per channel, then a score: (N, C, H, W) -> (N, 1, H, W)."""

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.scale = unfilled(channels)
        init.constant_(self.scale, scale)
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x * F.reshape(self.scale, (1, -1, 1, 1)))


class GargResNet(nn.Module):
    """ResNet-50-by-2 of the release; ``width`` and ``blocks`` are for smaller ones.

    (N, C, H, W) -> (N, 1, H, W), H and W multiples of 32

    Parameters
    ----------
    in_channels : int
        C. The release feeds blue, green, red of 0 .. 255, minus (104, 117, 123).
    width : int
        Channels of conv_0; 64 in the release.
    blocks : sequence of 4 int
        Bottlenecks of each stage.

    Attributes
    ----------
    skips : ModuleList
        The skips from the finest to the coarsest.
    """

    def __init__(
        self, in_channels: int = 3, width: int = 64, blocks: tuple[int, ...] = BLOCKS
    ):
        super().__init__()
        self.first = nn.Sequential(normalised(in_channels, width, 7), nn.ReLU())
        self.stages = nn.ModuleList(
            [nn.Sequential(normalised(width, 2 * width, 3), nn.ReLU())]
        )
        channels, tapped = 2 * width, [2 * width]
        for level, count in enumerate(blocks):
            inner = width // 2 * 2**level
            stage = []
            for block in range(count):
                stage.append(Bottleneck(channels, inner, project=block == 0))
                channels = 4 * inner
            self.stages.append(nn.Sequential(*stage))
            tapped.append(channels)
        self.score = nn.Conv2d(channels, 1, 1)
        self.skips = nn.ModuleList(
            [Skip(c, scale) for c, scale in zip(tapped[:-1], SKIP_SCALES, strict=True)]
        )
        self.register_buffer("window", init.bilinear_(unfilled(1, 1, 4, 4)).data)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                init.xavier_uniform_(layer.weight)
                assert layer.bias is not None
                init.zeros_(layer.bias)
        for score in (self.score, *(skip.score for skip in self.skips)):
            init.zeros_(score.weight)

    def forward(self, x: Any) -> Tensor:
        """The disparity, in pixels of x's grid.

        Raises
        ------
        ShapeError
            If a pooling would meet an odd size.
        """
        if x.shape[2] % 32 or x.shape[3] % 32:
            raise ShapeError(
                message(
                    "GargResNet: five poolings halve the image, so H and W are multiples of 32",
                    f"x has shape {x.shape}, read as (N, C, H, W)",
                )
            )
        kept, y = [], self.first(x)
        for stage in self.stages:
            y = stage(F.max_pool2d(y, 2))
            kept.append(y)
        disparity = self.score(y)
        for skip, seen in zip(reversed(list(self.skips)), kept[-2::-1], strict=True):
            disparity = self.enlarged(disparity) + skip(seen)
        return self.enlarged(disparity)

    def enlarged(self, disparity: Tensor) -> Tensor:
        """Double the grid, and the values with it: (N, 1, H, W) -> (N, 1, 2 H, 2 W).

        As in the release, by a transposed convolution: along the border, where it misses
        neighbours, the answer is a quarter too small.
        """
        return F.conv_transpose2d(disparity, self.window, stride=2, padding=1) * 2

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The release's groups: weights and norms; biases of convolutions; the skips' scales.

        Biases learn twice as fast and do not decay; scales a hundred times more slowly. The
        release's optimiser is ``Adam(net.parameter_groups(1e-3), 1e-3, weight_decay=1e-4)``.
        """
        biases = [m.bias for m in self.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
        scales = [skip.scale for skip in self.skips]
        apart = {id(p) for p in (*biases, *scales)}
        return [
            {"params": [p for p in self.parameters() if id(p) not in apart], "lr": lr},
            {"params": biases, "lr": 2 * lr, "weight_decay": 0.0},
            {"params": scales, "lr": SCALE_RATE * lr},
        ]


def normalised(channels: int, outputs: int, kernel: int) -> nn.Sequential:
    """A convolution that keeps the size, and a batch norm."""
    return nn.Sequential(
        nn.Conv2d(channels, outputs, kernel, padding=kernel // 2), nn.BatchNorm2d(outputs)
    )
