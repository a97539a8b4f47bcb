"""CRN: a layout of labels refined, at twice the size each time, to a photograph.

    labels (N, 20, H, W) -> k images (N, 3 k, H, W), bytes

    module   size (Cityscapes)   channels   its inputs
    4        4 x 8               1024       the layout, 20
    8        8 x 16              1024       what the module before put out, enlarged; the layout
    16       16 x 32             1024       the same
    32       32 x 64             1024
    64       64 x 128            1024
    128      128 x 256           512
    256      256 x 512           512
    512      512 x 1024          128
    1024     1024 x 2048         32
    head     the last's          3 k        1x1 convolution, linear; then (y + 1) / 2 * 255

    up to                  k    parameters
    256 x 512              9    97,875,483
    512 x 1024             1    98,622,851
    1024 x 2048            1    98,674,531

A module is twice: 3x3 convolution without bias, layer norm, leaky ReLU of slope 0.2. The layer
norm takes one mean and one variance of all numbers of an image, over C, H and W jointly, and has
a scale and a shift for each channel: GroupNorm of one group. Features are enlarged bilinearly
with corners that stay where they are, and stand before the layout in the concatenation.

The layout is one number for each class and pixel, 1 for the pixel's own class; a pixel of none
has the last, 20th class. Smaller layouts are means of 2x2 pixels, again and again, so coarse
ones are shares. Several images (k = 9) are several guesses at what the layout may look like;
the channels of image u are u, k + u and 2 k + u.

Source: Chen & Koltun 2017, "Photographic image synthesis with cascaded refinement networks";
everything above is as in the authors' program. That its layer norm leaves the convolutions
without bias, has eps = 1e-12, and that weights start from Glorot's uniform distribution is from
memory; the counts are derived from that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn
from minidl.compute.arrays import to_device
from minidl.errors import ArgumentError, ShapeError, message
from minidl.models.width import scaled
from minidl.nn import init
from minidl.tensor import as_tensor

CHANNELS = {4: 1024, 8: 1024, 16: 1024, 32: 1024, 64: 1024, 128: 512, 256: 512, 512: 128, 1024: 32}
"""Channels of the module at each height, in pixels."""
SLOPE = 0.2
"""Slope of the leaky ReLUs below 0."""
EPS = 1e-12
"""Number added to the layer norms' variances."""


class CRN(nn.Module):
    """A cascaded refinement network.

    (N, classes, height, W) -> (N, 3 k, height, W)

    Parameters
    ----------
    height : int
        Height of the images, 4 2^n up to 1024. The paper's are twice as wide as high; others do
        whose width, too, can be halved n times.
    classes : int
        Channels of the layout, the one for "none" included.
    k : int
        Images for each layout: 9 at 256, 1 above.
    width : float
        Scales the channels of all modules.
    channels : sequence of int, optional
        Channels of each module from the coarsest on, in place of the table's.

    Attributes
    ----------
    refine : ModuleList
        The modules, from the coarsest on.
    head : Conv2d, 1x1

    Raises
    ------
    ArgumentError
        If the height is none of these, or channels are not one for each module.
    """

    def __init__(
        self,
        height: int = 256,
        classes: int = 20,
        k: int = 9,
        width: float = 1.0,
        channels: Sequence[int] | None = None,
    ):
        super().__init__()
        if height not in CHANNELS or classes < 1 or k < 1 or width <= 0:
            raise ArgumentError(
                message(
                    "CRN: no such network",
                    f"received height = {height}, classes = {classes}, k = {k}, width = {width}",
                    hint=f"height is one of {tuple(CHANNELS)}, the others are above 0.",
                )
            )
        self.height, self.classes, self.k = height, classes, k
        self.heights = [h for h in CHANNELS if h <= height]
        sizes = [scaled(CHANNELS[h], width) for h in self.heights] if channels is None else channels
        if len(sizes) != len(self.heights):
            raise ArgumentError(
                f"CRN: the modules at {self.heights} need as many numbers of channels, "
                f"received {tuple(sizes)}"
            )
        self.refine = nn.ModuleList()
        before = 0
        for size in sizes:
            self.refine.append(refinement(before + classes, size))
            before = size
        self.head = nn.Conv2d(before, 3 * k, 1)
        init.xavier_uniform_(self.head.weight)
        assert self.head.bias is not None
        init.zeros_(self.head.bias)

    def forward(self, labels: Any) -> Tensor:
        """Images as bytes, from 0 to 255 where they are right; nothing is clipped.

        Parameters
        ----------
        labels : Tensor, shape (N, classes, height, W)
            See ``layout``.

        Raises
        ------
        ShapeError
            If the layout has another size.
        """
        labels = as_tensor(labels)
        if labels.ndim != 4 or labels.shape[1:3] != (self.classes, self.height):
            raise ShapeError(
                f"CRN: the layout must be (N, {self.classes}, {self.height}, W), "
                f"received shape {labels.shape}"
            )
        layouts = label_pyramid(labels, len(self.refine))
        x = self.refine[0](layouts[0])
        for module, at_size in zip([*self.refine][1:], layouts[1:], strict=True):
            h, w = at_size.shape[2:]
            x = F.interpolate(x, (h, w), mode="bilinear", align_corners=True)
            x = module(F.cat([x, at_size], 1))
        return (self.head(x) + 1) / 2 * 255

    def pictures(self, labels: Any) -> Tensor:
        """The k images of each layout apart, RGB in [0, 1] and clipped: (N, k, 3, H, W)."""
        return F.clip(split_pictures(self(labels), self.k) / 255, 0, 1)

    def start_from(self, smaller: CRN) -> None:
        """Copy the modules of a network of smaller height, as the larger ones' training starts.

        The head stays as it is: it belongs to other features.

        Raises
        ------
        ArgumentError
            If one of its modules does not fit.
        """
        theirs = smaller.refine.state_dict()
        mine = self.refine.state_dict()
        misfits = [n for n, v in theirs.items() if n not in mine or mine[n].shape != v.shape]
        if misfits:
            raise ArgumentError(
                f"CRN: {len(misfits)} parameters of the smaller network have no place of their "
                f"shape here, refine.{misfits[0]} the first"
            )
        self.refine.load_state_dict({**mine, **theirs})


def refinement(inputs: int, outputs: int) -> nn.Sequential:
    """A module: 3x3 convolution, layer norm over C, H and W, leaky ReLU, and all three again."""
    layers: list[nn.Module] = []
    for c in (inputs, outputs):
        conv = nn.Conv2d(c, outputs, 3, padding=1, bias=False)
        init.xavier_uniform_(conv.weight)
        layers += [conv, nn.GroupNorm(1, outputs, eps=EPS), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


def label_pyramid(labels: Any, levels: int) -> list[Tensor]:
    """The layout at ``levels`` sizes, each half the next: the coarsest first.

    (N, P, H, W) -> [(N, P, H / 2^(levels - 1), W / 2^(levels - 1)), ..., (N, P, H, W)]

    Raises
    ------
    ShapeError
        If H or W cannot be halved so often.
    """
    labels = as_tensor(labels)
    if labels.ndim != 4 or levels < 1 or any(size % 2 ** (levels - 1) for size in labels.shape[2:]):
        raise ShapeError(
            message(
                "label_pyramid: H and W must be multiples of 2 ^ (levels - 1)",
                f"labels has shape {labels.shape}, read as (N, P, H, W); levels = {levels}",
            )
        )
    found = [labels]
    for _ in range(levels - 1):
        found.append(F.avg_pool2d(found[-1], 2))
    return found[::-1]


def layout(labels: Any, classes: int = 19, dtype: Any = np.float32) -> Tensor:
    """Turn class numbers into a layout, void last: (N, H, W) -> (N, classes + 1, H, W).

    Parameters
    ----------
    labels : int array or Tensor, shape (N, H, W)
        Pixels of no class (negative, or ``classes`` and above, such as 255) are void.
    classes : int

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.models.crn import layout
    >>> layout(np.array([[[0, 2, 255]]]), classes=3).numpy()[0, :, 0].tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels = as_tensor(labels)
    if labels.ndim != 3 or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"layout: labels must be integers (N, H, W), received {labels.dtype} {labels.shape}"
        )
    numbers = to_device(np.arange(classes).reshape(1, -1, 1, 1), labels.device)
    known = (labels.data[:, None] == numbers).astype(dtype)
    return F.cat([Tensor(known), Tensor(1 - known.sum(1, keepdims=True))], 1)


def split_pictures(output: Any, k: int) -> Tensor:
    """Split a network's 3 k channels into k pictures: (N, 3 k, H, W) -> (N, k, 3, H, W).

    Channel c of picture u is channel c k + u: all reds come first, then all greens.
    """
    output = as_tensor(output)
    if output.ndim != 4 or output.shape[1] != 3 * k:
        raise ShapeError(
            f"split_pictures: {k} pictures need (N, {3 * k}, H, W), received {output.shape}"
        )
    n, _, h, w = output.shape
    return F.permute(F.reshape(output, (n, 3, k, h, w)), (0, 2, 1, 3, 4))
