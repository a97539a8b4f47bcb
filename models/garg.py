"""Garg et al. 2016: one image in, the disparity out; trained with a second view and no depth.

    x (N, 3, H, W) -> D (N, 1, I, J), pixels of disparity on that grid

    block    what it is                                         paper      188x620
    C1       convolution 11x11, stride 2; relu, L(RN)           96         89x305  -> skip of L11
    P1       max-pool 3x3, stride 2                                        44x152
    C2       5x5; relu, L                                       256        44x152  -> skip of L10
    P2       max-pool 3x3, stride 2 (an odd rest counts)                   22x76
    C3 - C5  3x3, three times; relu                             384 384 256
    F        5x5, then 1x1; relu: AlexNet's two connected layers  2048 2048
    D0       1x1 -> 1: the coarse disparity, "L9"               1          22x76
    D1 - D3  twice as many pixels, twice the value, + 1x1 -> 1  1          44x152, 88x304, 176x608
             of the skip ("L10", "L11", "L12")

A disparity counts pixels, so on a grid twice as fine it is twice as large. D3's skip is the image
itself. The answer describes the middle of the image, without 6 pixels at each side (``seen``).

Training goes from coarse to fine, as Horn & Schunck's optical flow over a pyramid does: D0 alone on
images as small as its map, where the largest disparity is about a pixel, so that the linear
view of the image holds; then one more stage at a time. A new stage starts as bilinear enlargement,
its skip at zero, so at first it only repeats what is known: ``forward(x, stages)`` stops early.

Source: Garg, Vijay Kumar, Carneiro & Reid 2016, "Unsupervised CNN for single view depth
estimation: geometry to the rescue", section 3. The sizes of the maps, the 2048 filters, 5x5 and
1x1, the three stages and their start are the paper's *from memory*. A stride of 2 in C1 (AlexNet
has 4), the two poolings, and which map each skip looks at are our reconstruction: the
choice under which an AlexNet gives exactly these sizes. Ours too: He's variance for all weights at
the start, D0 at zero, no dropout. 21,055,255 parameters, which cannot be checked against the paper.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError, ShapeError, message
from minidl.models.unet import centre_crop
from minidl.nn import init

WIDTHS = (96, 256, 384, 384, 256)
"""Channels of C1 ... C5."""
PADDINGS = ("valid", "same")
UPSAMPLINGS = ("learned", "fixed")
COARSE_STRIDE = 8
"""Pixels of the image per pixel of D0's map, along each axis."""


class Garg(nn.Module):
    """The network of Garg et al.; all options are for smaller ones.

    (N, C, H, W) -> (N, 1, I, J)

    Parameters
    ----------
    stages : int
        Refinements after the coarse map, 0 (L9) to 3 (L12).
    in_channels : int
        C.
    widths : sequence of 5 int
        Channels of C1 ... C5.
    hidden : int
        Channels of the two layers F.
    kernel : int
        Window of C1, odd.
    padding : {"valid", "same"}
        Padding of C1. With "same" nothing is lost at the sides: H and W are multiples of 8, and the
        answer of all three stages is as large as the image.
    upsampling : {"learned", "fixed"}
        Transposed convolutions that start bilinear and are trained, which miss neighbours along
        the border; or bilinear interpolation, which does not.
    normalise : bool
        Whether there is local response normalisation after C1 and C2.

    Attributes
    ----------
    skips : ModuleList
        1x1 convolutions of D1, D2, D3.

    Raises
    ------
    ArgumentError
        If an option is none of these.
    """

    def __init__(
        self,
        stages: int = 3,
        in_channels: int = 3,
        widths: tuple[int, ...] = WIDTHS,
        hidden: int = 2048,
        kernel: int = 11,
        padding: str = "valid",
        upsampling: str = "learned",
        normalise: bool = True,
    ):
        super().__init__()
        _check_options(stages, widths, kernel, padding, upsampling)
        self.stages, self.padding, self.normalise = stages, padding, normalise
        around = kernel // 2 if padding == "same" else 0
        self.conv1 = nn.Conv2d(in_channels, widths[0], kernel, 2, around)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5, padding=2)
        self.deep = nn.Sequential(
            nn.Conv2d(widths[1], widths[2], 3, padding=1), nn.ReLU(),
            nn.Conv2d(widths[2], widths[3], 3, padding=1), nn.ReLU(),
            nn.Conv2d(widths[3], widths[4], 3, padding=1), nn.ReLU(),
            nn.Conv2d(widths[4], hidden, 5, padding=2), nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1), nn.ReLU(),
        )
        self.coarse = nn.Conv2d(hidden, 1, 1)
        self.apply(_keep_the_variance)
        init.zeros_(self.coarse.weight)
        tapped = (widths[1], widths[0], in_channels)[:stages]
        self.skips = nn.ModuleList(_zero(nn.Conv2d(c, 1, 1)) for c in tapped)
        self.up: nn.ModuleList | None = None
        if upsampling == "learned":
            self.up = nn.ModuleList(nn.ConvTranspose2d(1, 1, 4, 2, 1, bias=False) for _ in tapped)
            for layer in self.up:
                init.bilinear_(layer.weight)

    def forward(self, x: Any, stages: int | None = None) -> Tensor:
        """The disparity after ``stages`` refinements; all of them by default.

        Raises
        ------
        ShapeError
            If the image's sides do not fit.
        ArgumentError
            If there are not so many stages.
        """
        wanted = self._known(stages)
        h, w = coarse_size(tuple(x.shape[2:]), self.conv1.kernel_size[0], self.padding)
        first = self._normalised(F.relu(self.conv1(x)))
        second = self._normalised(F.relu(self.conv2(self._pooled(first))))
        disparity = self.coarse(self.deep(self._pooled(second)))
        for stage, tap in enumerate((second, first, x)[:wanted]):
            size = (h * 2 ** (stage + 1), w * 2 ** (stage + 1))
            disparity = 2 * self._enlarged(disparity, stage)
            disparity = disparity + self.skips[stage](centre_crop(tap, size))
        return disparity

    def seen(self, image: Any, stages: int | None = None) -> Tensor:
        """What the answer describes, on its grid: the image's middle, shrunk by averaging.

        (N, C, H, W) -> (N, C, I, J); for the left view and, with the same crop, the right one.
        """
        wanted = self._known(stages)
        h, w = coarse_size(tuple(image.shape[2:]), self.conv1.kernel_size[0], self.padding)
        middle = centre_crop(image, (COARSE_STRIDE * h, COARSE_STRIDE * w))
        factor = COARSE_STRIDE // 2**wanted
        return F.avg_pool2d(middle, factor) if factor > 1 else middle

    def trained_by(self, stages: int) -> list[nn.Parameter]:
        """The parameters that an answer after ``stages`` refinements depends on."""
        parts: list[nn.Module] = [self.conv1, self.conv2, self.deep, self.coarse]
        parts += list(self.skips)[:stages]
        parts += list(self.up)[:stages] if self.up is not None else []
        return [p for part in parts for p in part.parameters()]

    def _known(self, stages: int | None) -> int:
        wanted = self.stages if stages is None else stages
        if not 0 <= wanted <= self.stages:
            raise ArgumentError(f"Garg: stages is 0 to {self.stages}, received {stages}")
        return wanted

    def _normalised(self, x: Tensor) -> Tensor:
        return F.local_response_norm(x, 5) if self.normalise else x

    def _pooled(self, x: Tensor) -> Tensor:
        if self.padding == "same":
            return F.max_pool2d(x, 2)
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def _enlarged(self, disparity: Tensor, stage: int) -> Tensor:
        if self.up is not None:
            return self.up[stage](disparity)
        return F.interpolate(disparity, scale_factor=2, mode="bilinear", align_corners=False)


def coarse_size(size: tuple[int, ...], kernel: int = 11, padding: str = "valid"
                ) -> tuple[int, int]:
    """Rows and columns of the coarse map: (188, 620) -> (22, 76).

    Raises
    ------
    ShapeError
        If a side does not fit: with "same", no multiple of 8; with "valid", too small, or
        smaller than the finest map.
    """
    found = tuple(_coarse_side(side, kernel, padding) for side in size)
    if 0 in found:
        rule = (
            f"multiples of {COARSE_STRIDE}" if padding == "same"
            else f"{kernel + 6} at least"
        )
        raise ShapeError(
            message(
                "Garg: this image does not fit",
                f"received (H, W) = {tuple(size)}, with padding={padding!r}",
                hint=f"sides are {rule}, such as those of "
                + ("48x96." if padding == "same" else "188x620."),
            )
        )
    return found[0], found[1]


def _coarse_side(side: int, kernel: int, padding: str) -> int:
    """Pixels along one side of the coarse map, or 0 if the image's side does not fit."""
    if padding == "same":
        return side // COARSE_STRIDE if side % COARSE_STRIDE == 0 else 0
    first = (side - kernel) // 2 + 1
    second = -(-(first - 3) // 2) + 1
    third = -(-(second - 3) // 2) + 1
    # The finest map must lie within the image: where the kernel is 1, it may not.
    return third if third > 0 and side >= COARSE_STRIDE * third else 0


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    init.zeros_(layer.weight)
    assert layer.bias is not None
    init.zeros_(layer.bias)
    return layer


def _keep_the_variance(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        init.kaiming_normal_(layer.weight, nonlinearity="relu")
        assert layer.bias is not None
        init.zeros_(layer.bias)


def _check_options(
    stages: int, widths: tuple[int, ...], kernel: int, padding: str, upsampling: str
) -> None:
    if stages not in range(4) or len(widths) != 5 or kernel < 1 or kernel % 2 == 0:
        raise ArgumentError(
            message(
                "Garg: stages is 0 to 3, widths are five, kernel is odd",
                f"received stages = {stages}, widths = {widths}, kernel = {kernel}",
            )
        )
    if padding not in PADDINGS or upsampling not in UPSAMPLINGS:
        raise ArgumentError(
            message(
                "Garg: unknown padding or upsampling",
                f"received padding={padding!r}, upsampling={upsampling!r}",
                hint=f"choose a padding of {PADDINGS} and an upsampling of {UPSAMPLINGS}.",
            )
        )
