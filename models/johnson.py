"""Johnson et al.: a network that gives every picture one style, in one pass; and enlarges pictures.

Gatys et al. optimise a picture; here a network is trained once for a style, by the same loss. Two
networks are in use whose weights do not fit each other, though both have 1,679,235 parameters:

    layer                 TransformNet (the paper)          TransformerNet (pytorch/examples)
    pictures              BGR bytes - means                 RGB bytes
    before all            mirrored by 40 pixels             -
    9x9, 32               zeros around                      mirrored by 4
    3x3 / 2, 64; 128      zeros around                      mirrored by 1
    5 residual blocks     valid: 4 pixels smaller, the      mirrored by 1
                          centre of x is added
    64; 32                transposed 3x3 of stride 2        nearest x 2, then 3x3, mirrored by 1
    9x9, 3                zeros around                      mirrored by 4
    norm                  batch (or instance)               instance
    behind all            150 tanh                          -

The pixels mirrored at the start are what the valid blocks eat. Both shrink to a quarter and grow
again: outputs have sides rounded up to multiples of 4, and ``fast_style`` cuts the rest off.

They are trained by ``minidl.tasks.perceptual.StyleTrainer``, with ``minidl.train.fit``.
TransformerNet begins with answers of about 0, which is black, and takes hundreds of steps to reach
the range of bytes; tanh is there at once.

    net = load_transformer("candy.pth").model
    result = fast_style(net, picture)               # arrays (3, H, W), RGB from 0 to 1

Super-resolution (``SuperResolutionNet``) has the same blocks on the small picture, then as many
doublings as it takes. It is trained for features (relu2_2), not for pixels: sharper, and worse in
decibels.

Source: Johnson, Alahi & Fei-Fei 2016, "Perceptual losses for real-time style transfer and
super-resolution", sections 3 and 4 and the supplement's tables; mirroring and tanh as in the
released code. TransformerNet as in pytorch/examples' fast_neural_style, with its names. That
SuperResolutionNet's blocks keep their size, and the number of its blocks, are from memory.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError, ShapeError, message
from minidl.models.vgg import denormalise, normalise
from minidl.tensor import as_tensor

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
}
"""Norms by name: each makes a layer for a number of channels."""


# --- the paper's ---


class ResidualBlock(nn.Module):
    """A residual block: 3x3, norm, ReLU, 3x3, norm, plus x; no ReLU behind the sum.

    (N, C, H, W) -> (N, C, H - 4, W - 4), or with ``padding`` 1 -> (N, C, H, W)
    """

    def __init__(self, channels: int, norm: str, padding: int = 0):
        super().__init__()
        self.padding = padding
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=padding), NORMS[norm](channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=padding), NORMS[norm](channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        cut = 2 - 2 * self.padding
        centre = x[..., cut : x.shape[-2] - cut, cut : x.shape[-1] - cut]
        return self.body(x) + centre


class TransformNet(nn.Module):
    """The paper's network, (N, 3, H, W) -> (N, 3, H', W'), sides rounded up to multiples of 4.

    Parameters
    ----------
    norm : {"batch", "instance"}
        Instance norm is of the later released networks, which have 16 channels first.
    width : int
        Channels of the first layer; then 2 and 4 times as many.
    blocks : int
        Residual blocks. The mirrored frame is 8 pixels for each: 40, of which they eat 4 each at
        a quarter's size.

    Raises
    ------
    ArgumentError
        If an option is none of these.
    """

    def __init__(self, norm: str = "batch", width: int = 32, blocks: int = 5):
        super().__init__()
        _check_options("TransformNet", norm, width, blocks)
        self.norm, self.width, self.frame = norm, width, 8 * blocks
        self.smallest = self.frame + 1
        c = width
        self.layers = nn.Sequential(
            nn.Conv2d(3, c, 9, padding=4), NORMS[norm](c), nn.ReLU(),
            nn.Conv2d(c, 2 * c, 3, 2, padding=1), NORMS[norm](2 * c), nn.ReLU(),
            nn.Conv2d(2 * c, 4 * c, 3, 2, padding=1), NORMS[norm](4 * c), nn.ReLU(),
            *[ResidualBlock(4 * c, norm) for _ in range(blocks)],
            *_doubling(4 * c, 2 * c, norm), *_doubling(2 * c, c, norm),
            nn.Conv2d(c, 3, 9, padding=4),
        )

    def forward(self, x: Any) -> Tensor:
        """The picture in the style; BGR bytes minus means, in and out.

        Raises
        ------
        ShapeError
            If the picture is too small to be mirrored.
        """
        x = as_tensor(x)
        _check_size(self, x)
        return 150 * F.tanh(self.layers(F.pad(x, (self.frame,) * 4, "reflect")))

    def stylise(self, x: Any) -> Tensor:
        """The picture in the style; RGB from 0 to 1, in and out, not clipped."""
        return denormalise(self(normalise(as_tensor(x), "caffe")), "caffe")


class SuperResolutionNet(nn.Module):
    """Enlarge 4 or 8 times: (N, 3, H, W) -> (N, 3, scale H, scale W), BGR bytes minus means.

    Parameters
    ----------
    scale : {4, 8}
    norm : {"batch", "instance"}
    width : int
        Channels everywhere.
    """

    def __init__(self, scale: int = 4, norm: str = "batch", width: int = 64):
        super().__init__()
        _check_options("SuperResolutionNet", norm, width, 4)
        if scale not in (4, 8):
            raise ArgumentError(f"SuperResolutionNet: scale is 4 or 8, received {scale}")
        self.scale = scale
        doublings = [_doubling(width, width, norm) for _ in range({4: 2, 8: 3}[scale])]
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 9, padding=4), NORMS[norm](width), nn.ReLU(),
            *[ResidualBlock(width, norm, padding=1) for _ in range(4)],
            *chain(*doublings), nn.Conv2d(width, 3, 9, padding=4),
        )

    def forward(self, x: Any) -> Tensor:
        return 150 * F.tanh(self.layers(as_tensor(x)))

    def enlarge(self, x: Any) -> Tensor:
        """The enlarged picture; RGB from 0 to 1, in and out, not clipped."""
        return denormalise(self(normalise(as_tensor(x), "caffe")), "caffe")


def _doubling(inputs: int, outputs: int, norm: str) -> list[nn.Module]:
    """Layers that double H and W: a convolution of stride 1/2, norm, ReLU."""
    up = nn.ConvTranspose2d(inputs, outputs, 3, 2, padding=1, output_padding=1)
    return [up, NORMS[norm](outputs), nn.ReLU()]


# --- pytorch/examples' ---


class ConvLayer(nn.Module):
    """Enlarge by repeating pixels, mirror the border, convolve; the size stays but for these."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, enlarge: int = 1):
        super().__init__()
        self.enlarge = enlarge
        self.conv2d = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, padding_mode="reflect"
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.enlarge > 1:
            x = F.interpolate(x, scale_factor=self.enlarge, mode="nearest")
        return self.conv2d(x)


class PaddedBlock(nn.Module):
    """A residual block of ConvLayers."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.in1 = ConvLayer(channels, channels, 3), _instance(channels)
        self.conv2, self.in2 = ConvLayer(channels, channels, 3), _instance(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


class TransformerNet(nn.Module):
    """pytorch/examples' network, (N, 3, H, W) -> (N, 3, H', W'), sides rounded up to 4.

    RGB bytes in and out, with nothing that keeps them from 0 to 255. What is called ``deconv``
    there is no transposed convolution.

    Parameters
    ----------
    width : int
        Channels of the first layer, 32 in the published files.
    """

    smallest = 5
    """Least H and W, in pixels: then every mirroring has enough to mirror."""

    def __init__(self, width: int = 32):
        super().__init__()
        _check_options("TransformerNet", "instance", width, 5)
        c = self.width = width
        self.conv1, self.in1 = ConvLayer(3, c, 9), _instance(c)
        self.conv2, self.in2 = ConvLayer(c, 2 * c, 3, 2), _instance(2 * c)
        self.conv3, self.in3 = ConvLayer(2 * c, 4 * c, 3, 2), _instance(4 * c)
        for k in range(1, 6):
            setattr(self, f"res{k}", PaddedBlock(4 * c))
        self.deconv1, self.in4 = ConvLayer(4 * c, 2 * c, 3, enlarge=2), _instance(2 * c)
        self.deconv2, self.in5 = ConvLayer(2 * c, c, 3, enlarge=2), _instance(c)
        self.deconv3 = ConvLayer(c, 3, 9)

    def forward(self, x: Any) -> Tensor:
        """The picture in the style; RGB bytes, in and out.

        Raises
        ------
        ShapeError
            If the picture is too small to be mirrored.
        """
        y = as_tensor(x)
        _check_size(self, y)
        for k in (1, 2, 3):
            y = F.relu(getattr(self, f"in{k}")(getattr(self, f"conv{k}")(y)))
        for k in range(1, 6):
            y = getattr(self, f"res{k}")(y)
        y = F.relu(self.in4(self.deconv1(y)))
        y = F.relu(self.in5(self.deconv2(y)))
        return self.deconv3(y)

    def stylise(self, x: Any) -> Tensor:
        """The picture in the style; RGB from 0 to 1, in and out, not clipped."""
        return self(as_tensor(x) * 255) * (1 / 255)


def _instance(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, affine=True)


Transformer = TransformNet | TransformerNet
"""A network that gives pictures a style."""


# --- refusals ---


def _check_options(who: str, norm: str, width: int, blocks: int) -> None:
    if norm not in NORMS:
        raise ArgumentError(
            message(f"{who}: unknown norm {norm!r}", hint=f"choose one of {tuple(NORMS)}.")
        )
    if min(width, blocks) < 1:
        raise ArgumentError(f"{who}: width and blocks must be positive, not {width}, {blocks}")


def _check_size(model: Transformer, x: Tensor) -> None:
    if x.ndim != 4 or x.shape[1] != 3 or min(x.shape[2:]) < model.smallest:
        raise ShapeError(
            message(
                f"{type(model).__name__}: pictures must be (N, 3, H, W), large enough to mirror",
                f"received shape {x.shape}",
                hint=f"H and W must be at least {model.smallest}.",
            )
        )
