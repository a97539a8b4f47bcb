"""U-Net: down to see what there is, up to see where, and bridges between the two.

    contracting path   conv, conv, pool   the image halves, the channels double
    expanding path     up-convolution, beside it the same level's map from the way down, conv, conv

    level   way down            (H, W)       way up                        (H, W)
    0       conv conv -> 64     570, 568     up -> 64,  cat, conv conv     392; 390, 388
    1       conv conv -> 128    282, 280     up -> 128, cat, conv conv     200; 198, 196
    2       conv conv -> 256    138, 136     up -> 256, cat, conv conv     104; 102, 100
    3       conv conv -> 512     66,  64     up -> 512, cat, conv conv      56;  54,  52
    bottom  conv conv -> 1024    30,  28
    head    1x1 conv -> classes 388          572 -> 388; 31,030,658 parameters (C = 1, 2 classes)

All 3x3 convolutions are valid, with a ReLU behind each: what comes out has seen real pixels (or
mirrored ones, see ``minidl.tasks.segmentation.overlap_tile``) and no padding. So the maps on the
left are larger than those on the right, and their centre is cut out for the bridge. A pooling must
meet an even size, which leaves inputs of 16 k + 60 pixels a side, whose outputs have 16 k - 124.

Source: Ronneberger, Fischer & Brox 2015, "U-Net: convolutional networks for biomedical image
segmentation", section 2 (layers), section 3 (weights start from N(0, 2 / incoming connections);
"drop-out layers at the end of the contracting path"). What the paper leaves open is as in the
released network, known to us from a port that was checked against its weights: the upsampled map
stands first in the concatenation; dropout (0.5) follows the last ReLU of level 3 and of the
bottom, and the bridge of level 3 carries the dropped map. That biases start at 0 is our choice.
The released network differs from the paper in two things more, see ``UNet``'s ``released``.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError, ShapeError, message
from minidl.nn import init

PADDINGS = ("valid", "same")


class UNet(nn.Module):
    """U-Net, the network of the paper; every option but ``released`` is for smaller or other ones.

    (N, C, H, W) -> (N, classes, I, J) logits, (I, J) = (H - 184, W - 184) by default

    Parameters
    ----------
    in_channels : int
        C, of the image.
    classes : int
    width : int
        Channels of level 0; each level below has twice as many.
    depth : int
        How often the image is halved.
    padding : {"valid", "same"}
        ``"same"`` pads with zeros: outputs are as large as inputs, whose sides must be
        multiples of 2 ** depth.
    dropout : float
        Probability, after the deepest level of the way down and after the bottom.
    skips : bool
        Whether there are bridges. Without them, all that is known about where things are
        has to pass through the bottom.
    released : bool
        The network whose weights the authors released, in place of the paper's: a ReLU also
        behind each up-convolution, and the last of these keeps its channels (128), so that
        level 0's first convolution on the way up sees 192. 31,100,354 parameters.

    Attributes
    ----------
    down, up, merge : ModuleList
        Level by level from the top: two convolutions; the up-convolution that leads to this
        level; the two convolutions behind it.
    bottom : Sequential
    head : Conv2d, 1x1

    Raises
    ------
    ArgumentError
        If an option is none of these.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 2,
        width: int = 64,
        depth: int = 4,
        padding: str = "valid",
        dropout: float = 0.5,
        skips: bool = True,
        released: bool = False,
    ):
        super().__init__()
        _check_options(width, depth, padding)
        self.depth, self.padding, self.skips, self.released = depth, padding, skips, released
        widths = [width * 2**level for level in range(depth + 1)]
        self.down, self.up, self.merge = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level in range(depth):
            above = widths[level - 1] if level else in_channels
            here, below = widths[level], widths[level + 1]
            raised = below if released and level == 0 else here
            self.down.append(two_convolutions(above, here, padding))
            self.up.append(nn.ConvTranspose2d(below, raised, 2, stride=2))
            joined = raised + here if skips else raised
            self.merge.append(two_convolutions(joined, here, padding))
        self.bottom = two_convolutions(widths[-2], widths[-1], padding)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(width, classes, 1)
        self.apply(keep_the_variance)

    def forward(self, x: Any) -> Tensor:
        """The logits of each pixel's class.

        Raises
        ------
        ShapeError
            If a pooling would meet an odd size, or nothing would be left.
        """
        for size in x.shape[-2:]:
            output_size(size, self.depth, self.padding)
        bridges = []
        for level, convolve in enumerate(self.down):
            x = convolve(x)
            if level == self.depth - 1:
                x = self.dropout(x)
            bridges.append(x)
            x = self.pool(x)
        x = self.dropout(self.bottom(x))
        for level in reversed(range(self.depth)):
            x = self.up[level](x)
            x = F.relu(x) if self.released else x
            if self.skips:
                x = F.cat([x, centre_crop(bridges[level], x.shape[-2:])], 1)
            x = self.merge[level](x)
        return self.head(x)


def two_convolutions(channels: int, width: int, padding: str) -> nn.Sequential:
    """Layers of a level: 3x3 convolution, ReLU, and both again."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=padding), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=padding), nn.ReLU(),
    )


def keep_the_variance(layer: nn.Module) -> None:
    """Draw weights from N(0, 2 / n), n the incoming connections of one output; biases 0.

    A 2x2 up-convolution of stride 2 reaches each output with one tap only, so there n is the
    number of channels, and not four times that.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    if isinstance(layer, nn.Conv2d):
        init.kaiming_normal_(layer.weight, nonlinearity="relu")
    elif isinstance(layer, nn.ConvTranspose2d):
        init.normal_(layer.weight, std=(2 / layer.in_channels) ** 0.5)
    else:
        return
    if layer.bias is not None:
        init.zeros_(layer.bias)


def centre_crop(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """The middle (I, J) of an image, or of labels: (..., H, W) -> (..., I, J)."""
    height, width = size
    spare_h, spare_w = x.shape[-2] - height, x.shape[-1] - width
    if spare_h < 0 or spare_w < 0:
        raise ShapeError(
            message(
                "centre_crop: what is cut out must not be larger than the image",
                f"x has shape {x.shape}, read as (..., H, W); received size = {(height, width)}",
            )
        )
    if not spare_h and not spare_w:
        return x
    top, left = spare_h // 2, spare_w // 2
    return x[..., top : top + height, left : left + width]


# --- which sizes fit, along H or along W ---


def border(depth: int = 4) -> int:
    """The number of pixels that a valid U-Net loses at each side: 92 of depth 4."""
    return 6 * 2**depth - 4


def input_sizes(depth: int = 4, padding: str = "valid") -> range:
    """The sizes that fit: 16 k + 60 of depth 4 (188, 204, ..., 572, ...), or multiples of 16.

    Two valid convolutions take 4 pixels and a pooling halves, so k pixels at the bottom need
    2 k + 4 one level above: 2^depth k + 4 (2^depth - 1) at the top. What remains in the end,
    2^depth k - 4 (2^depth - 1) - 2^depth 4, must be a pixel at least.
    """
    step = 2**depth
    lost = 2 * border(depth)
    smallest_k = (8 * step - 4) // step + 1  # the first k with anything left
    first = step if padding == "same" else step * smallest_k + lost - (8 * step - 4)
    return range(first, 2**31, step)


def output_size(size: int, depth: int = 4, padding: str = "valid") -> int:
    """Pixels a side that come out of ``size`` pixels a side: 572 -> 388.

    Raises
    ------
    ShapeError
        If the size does not fit; the error names the nearest that do.
    """
    fitting = input_sizes(depth, padding)
    if size not in fitting:
        below = fitting[max((size - fitting.start) // fitting.step, 0)]
        nearest = sorted({below, input_size_above(size, depth, padding)})
        raise ShapeError(
            message(
                f"UNet: an image of {size} pixels a side does not fit",
                f"{depth} poolings halve it, and each must meet an even size; with "
                f"padding={padding!r} that takes {fitting.step} k + {fitting.start % fitting.step}"
                f" pixels, {fitting.start} at least",
                hint=f"the nearest that fits is {' or '.join(map(str, nearest))}; "
                "minidl.tasks.segmentation.overlap_tile takes images of any size.",
            )
        )
    return size if padding == "same" else size - 2 * border(depth)


def input_size_above(size: int, depth: int = 4, padding: str = "valid") -> int:
    """The smallest size that fits and is not below ``size``."""
    fitting = input_sizes(depth, padding)
    return fitting[max(-(-(size - fitting.start) // fitting.step), 0)]


def input_size_for(output: int, depth: int = 4, padding: str = "valid") -> int:
    """The smallest input whose output has at least ``output`` pixels a side: 388 -> 572."""
    lost = 0 if padding == "same" else 2 * border(depth)
    return input_size_above(output + lost, depth, padding)


def _check_options(width: int, depth: int, padding: str) -> None:
    if width < 1 or depth < 1 or padding not in PADDINGS:
        raise ArgumentError(
            message(
                "UNet: width and depth must be at least 1, and padding one of "
                f"{PADDINGS}",
                f"received width = {width}, depth = {depth}, padding = {padding!r}",
            )
        )
