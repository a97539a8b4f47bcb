"""Chairs to order: a network that draws the chair of a given class, seen from a given place.

    class c (N, classes), view v (N, 4), transform t (N, 28) -> RGB (N, 3, H, W), mask

    two streams, 128x128, as released         units, or channels x size
    class, view, transform, each              fc1 512, fc2 512
    side by side, 1536                        fc3 1024, fc4 1024
                                    RGB                        mask
    fc5                             16,384 = 256 x 8x8         8,192 = 128 x 8x8
    unpool, 5x5 convolution         256 x 16x16                92 x 16x16
    the same                        92 x 32x32                 32 x 32x32
    the same                        92 x 64x64                 32 x 64x64
    the same, no ReLU               3 x 128x128                3 x 128x128

    31,893,694 parameters with 843 classes; at 64x64, where the last row follows the second
    enlargement, 31,656,370

    "1s-S-deep", 128x128            from one stream: each row a 4x4 transposed convolution of
                                    stride 2 and a 3x3 convolution
    fc5                             16,384 = 256 x 8x8
    up, conv                        256 x 16x16;  92 x 32x32;  48 x 64x64
    up, no ReLU, once for each      3 x 128x128 (RGB);  2 x 128x128 (mask: scores of not, and yes)
    22,816,429 parameters with 809 classes and 12 transforms

Unpooling puts each value into the top left pixel of a 2x2 cell, zeros elsewhere. With the 5x5
convolution behind it this is one transposed convolution of stride 2, padding 2 and a row and a
column more. ReLU follows all layers but the last.

Both streams' targets are the rendered chair on black, x s, and its mask s; the loss of an image is

    10/2 |rgb - x s|^2 + 1/2 |mask - s|^2        summed over pixels and channels

Sources: Dosovitskiy, Springenberg & Brox 2015, "Learning to generate chairs with convolutional
neural networks"; the two-stream network, loss and initial values are those of the authors'
release, which has 843 classes (the paper speaks of 809). Its counts are derived from its layers.
"1s-S-deep" is the journal version's name; its layers are known to us from a third party's
program, its loss (cross-entropy of the mask, RGB 100 times as strong) from memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn
from minidl.compute.arrays import to_device
from minidl.data.drawn.chair_transforms import TRANSFORM_ENTRIES
from minidl.errors import ArgumentError, ShapeError, message
from minidl.models.width import scaled
from minidl.nn import init
from minidl.tensor import as_tensor

DOUBLINGS = {32: 2, 64: 3, 128: 4}
"""Number of doublings of 8x8 that lead to each side of an image, in pixels; 32 is ours."""
BASE = 8
"""Side of the map that fc5 puts out, in pixels."""
STARTS = ("new_version", "release")
"""Kinds of initial values."""
MORPH_SHARES = (1.0, 0.65, 0.57, 0.5, 0.43, 0.35, 0.0)
"""Shares of the first chair in the authors' morphs."""


class Drawn(NamedTuple):
    """What a network puts out, not yet bounded to [0, 1]."""

    rgb: Tensor
    """The chair on black, (N, 3, H, W)."""
    mask: Tensor
    """The mask C times, (N, C, H, W); or, of OneStream, scores of "not" and "yes"."""


class ChairNetwork(nn.Module):
    """What both networks share: the layers from the inputs to fc4, the loss, the picture.

    Attributes
    ----------
    of_class, of_view, of_transform : Sequential
        fc1 and fc2 of each input.
    joint : Sequential
        fc3 and fc4.
    softmax : bool
        Whether the mask is two scores.
    rgb_weight : float
        Weight of the RGB's error; the mask's has 1.
    """

    softmax = False
    rgb_weight = 10.0

    def __init__(self, classes: int, transforms: int, size: int, width: float):
        super().__init__()
        if size not in DOUBLINGS or width <= 0 or classes < 1 or transforms < 1:
            raise ArgumentError(
                message(
                    f"{type(self).__name__}: no such network",
                    f"received classes = {classes}, transforms = {transforms}, size = {size}, "
                    f"width = {width}",
                    hint=f"size is one of {tuple(DOUBLINGS)}, the others are above 0.",
                )
            )
        self.classes, self.transforms, self.size = classes, transforms, size
        each, both = scaled(512, width), scaled(1024, width)
        self.of_class = _dense(classes, each, each)
        self.of_view = _dense(4, each, each)
        self.of_transform = _dense(transforms, each, each)
        self.joint = _dense(3 * each, both, both)

    def forward(self, c: Any, v: Any, t: Any = None) -> Drawn:
        """Draw chairs of given classes, views and transforms.

        Parameters
        ----------
        c : int array (N,), or Tensor (N, classes)
            Numbers of classes, or mixes of them: rows whose entries sum to 1.
        v : Tensor, shape (N, 4)
            (sin e, cos e, sin a, cos a), see ``minidl.data.drawn.chairs.view_vector``.
        t : Tensor, shape (N, transforms), optional
            See ``minidl.data.drawn.chair_transforms.ChairTransform``; zeros if left out.

        Raises
        ------
        ShapeError
            If one of them has another shape.
        """
        v, weight = as_tensor(v), self.of_class[0].weight
        c = as_tensor(c)
        if c.ndim == 1 and c.dtype.kind in "iu":
            c = F.one_hot(c, self.classes)
        c, v = c.astype(weight.dtype), v.astype(weight.dtype)
        if t is None:
            zeros = np.zeros((len(v), self.transforms), np.float32)
            t = Tensor(to_device(zeros, weight.device))
        t = as_tensor(t).astype(weight.dtype)
        found = c.shape, v.shape, t.shape
        n = len(v)
        if found != ((n, self.classes), (n, 4), (n, self.transforms)):
            raise ShapeError(
                message(
                    f"{type(self).__name__}: class, view and transform do not fit",
                    f"received shapes {found[0]}, {found[1]} and {found[2]}",
                    hint=f"they are (N,) integers or (N, {self.classes}), (N, 4) and "
                    f"(N, {self.transforms}), of one N.",
                )
            )
        parts = [self.of_class(c), self.of_view(v), self.of_transform(t)]
        return self._drawn(self.joint(F.cat(parts, 1)))

    def _drawn(self, h: Tensor) -> Drawn:
        raise NotImplementedError

    def last_layers(self) -> list[nn.Module]:
        """The two layers that put out RGB and mask."""
        raise NotImplementedError

    def loss(self, drawn: Drawn, image: Any, mask: Any, reduction: str = "sum") -> Tensor:
        """The error of both outputs, mean over images.

        Parameters
        ----------
        drawn : Drawn
        image : Tensor, shape (N, 3, H, W)
            Pictures on any ground: what the mask leaves out does not count.
        mask : Tensor, shape (N, 1, H, W)
        reduction : {"sum", "mean"}
            What is done over an image's pixels and channels; "sum" is the release's. There the
            mask is three channels, all alike: one counts as three, so that the loss stays.
        """
        image, mask = as_tensor(image), as_tensor(mask)
        if reduction not in ("sum", "mean"):
            raise ArgumentError(f'chairs: reduction is "sum" or "mean", received {reduction!r}')
        n, _, height, width = image.shape
        rgb = F.square(drawn.rgb - image * mask).sum() / 2
        if self.softmax:
            log_p = drawn.mask - F.logsumexp(drawn.mask, 1, keepdims=True)
            wrong = -(mask * log_p[:, 1:] + (1 - mask) * log_p[:, :1]).sum()
        else:
            wrong = F.square(drawn.mask - mask).sum() * (3 / drawn.mask.shape[1]) / 2
        total = (self.rgb_weight * rgb + wrong) / n
        return total if reduction == "sum" else total / (3 * height * width)

    def coverage(self, drawn: Drawn) -> Tensor:
        """The mask as a share of each pixel, (N, 1, H, W) in [0, 1]."""
        if self.softmax:
            return F.sigmoid(drawn.mask[:, 1:] - drawn.mask[:, :1])
        return F.clip(drawn.mask.mean(1, keepdims=True), 0, 1)

    def compose(self, drawn: Drawn) -> Tensor:
        """The picture on white, as the release shows it: rgb m + 1 - m, (N, 3, H, W)."""
        m = self.coverage(drawn)
        return F.clip(drawn.rgb * m + (1 - m), 0, 1)


class TwoStreams(ChairNetwork):
    """The released network: one stream of layers for RGB and one for the mask.

    Parameters
    ----------
    classes, transforms : int
        Entries of c and t.
    size : {128, 64, 32}
        H and W.
    width : float
        Scales units and channels of all layers but the last.
    mask_channels : int
        3 in the release, all to be alike.
    start : {"new_version", "release"}
        Weights, see ``start_new_version`` and ``start_release``.
    """

    def __init__(
        self,
        classes: int = 843,
        transforms: int = TRANSFORM_ENTRIES,
        size: int = 128,
        width: float = 1.0,
        mask_channels: int = 3,
        start: str = "new_version",
    ):
        super().__init__(classes, transforms, size, width)
        inputs = scaled(1024, width)
        self.rgb = _stream(inputs, [scaled(c, width) for c in (256, 256, 92, 92)], size, 3)
        self.mask = _stream(
            inputs, [scaled(c, width) for c in (128, 92, 32, 32)], size, mask_channels
        )
        if start not in STARTS:
            raise ArgumentError(
                message(f"TwoStreams: unknown start {start!r}", hint=f"choose one of {STARTS}.")
            )
        (start_new_version if start == "new_version" else start_release)(self)

    def _drawn(self, h: Tensor) -> Drawn:
        return Drawn(self.rgb(h), self.mask(h))

    def last_layers(self) -> list[nn.Module]:
        return [self.rgb[-1], self.mask[-1]]


class OneStream(ChairNetwork):
    """1s-S-deep: one stream to the last size but one, then RGB and mask from the same features.

    Parameters
    ----------
    classes, transforms : int
        809 and 12 in the program that we know it from.
    size, width
        As those of TwoStreams.
    """

    softmax = True
    rgb_weight = 100.0

    def __init__(
        self, classes: int = 809, transforms: int = 12, size: int = 128, width: float = 1.0
    ):
        super().__init__(classes, transforms, size, width)
        channels = [scaled(c, width) for c in (256, 256, 92, 48)][: DOUBLINGS[size]]
        layers: list[nn.Module] = [
            nn.Linear(scaled(1024, width), channels[0] * BASE**2), nn.ReLU(),
            nn.Unflatten(1, (channels[0], BASE, BASE)),
        ]
        for c, o in pairwise(channels):
            layers += [nn.ConvTranspose2d(c, o, 4, stride=2, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(o, o, 3, padding=1), nn.ReLU()]
        self.stream = nn.Sequential(*layers)
        self.rgb = nn.ConvTranspose2d(channels[-1], 3, 4, stride=2, padding=1)
        self.mask = nn.ConvTranspose2d(channels[-1], 2, 4, stride=2, padding=1)
        start_new_version(self)

    def _drawn(self, h: Tensor) -> Drawn:
        features = self.stream(h)
        return Drawn(self.rgb(features), self.mask(features))

    def last_layers(self) -> list[nn.Module]:
        return [self.rgb, self.mask]


def _dense(inputs: int, first: int, second: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU())


def unpooled_convolution(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Unpooling and 5x5 convolution in one layer: (N, C, H, W) -> (N, O, 2 H, 2 W)."""
    return nn.ConvTranspose2d(inputs, outputs, 5, stride=2, padding=2, output_padding=1)


def _stream(inputs: int, channels: Sequence[int], size: int, outputs: int) -> nn.Sequential:
    """A stream of layers: fc5, then enlargements to ``size``."""
    kept = channels[: DOUBLINGS[size]]
    layers: list[nn.Module] = [
        nn.Linear(inputs, kept[0] * BASE**2), nn.ReLU(), nn.Unflatten(1, (kept[0], BASE, BASE))
    ]
    for c, o in zip(kept, [*kept[1:], outputs], strict=True):
        layers += [unpooled_convolution(c, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# --- initial values ---


def _parts(
    model: ChairNetwork,
) -> tuple[list[nn.Linear], list[nn.Conv2d | nn.ConvTranspose2d]]:
    """All fully connected layers, and all convolutions of either kind."""
    found = list(model.modules())
    convolutions = [m for m in found if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    return [m for m in found if isinstance(m, nn.Linear)], convolutions


def start_new_version(model: ChairNetwork) -> None:
    """Draw from N(0, 2 / n) of n inputs; 8 / n if three in four are 0; 0.1 / n in last layers.

    The first layers of class and transform start from N(0, 1). Biases of 0 are our choice; so
    is that a layer's n counts the zeros, which explains the 8.
    """
    dense, convolutions = _parts(model)
    for linear in dense:
        init.kaiming_normal_(linear.weight, nonlinearity="relu")
    for first in (model.of_class[0], model.of_transform[0]):
        init.normal_(first.weight)
    last = [id(layer) for layer in model.last_layers()]
    for conv in convolutions:
        gain = 0.1 if id(conv) in last else 8 if isinstance(conv, nn.ConvTranspose2d) else 2
        taps = conv.in_channels * conv.weight.shape[2] * conv.weight.shape[3]
        init.normal_(conv.weight, std=(gain / taps) ** 0.5)
    for layer in [*dense, *convolutions]:
        if layer.bias is not None:
            init.zeros_(layer.bias)


def start_release(model: ChairNetwork) -> None:
    """Set orthonormal weights; biases 0.1 in fully connected layers, and 0 in the others.

    The release draws small normal weights (of deviations from 1e-4 to 1e-2) and makes them
    orthonormal in the first steps of training. Here they are so from the start; that the
    matrix of a transposed convolution is (C, O K L), and its bias 0, is our reading.
    """
    dense, convolutions = _parts(model)
    for layer in [*dense, *convolutions]:
        init.orthogonal_(layer.weight)
        if layer.bias is not None:
            init.constant_(layer.bias, 0.1 if isinstance(layer, nn.Linear) else 0)


# --- between two chairs ---


def morph(
    first: int, second: int, classes: int, shares: Sequence[float] = MORPH_SHARES
) -> np.ndarray:
    """Mixes of two classes, one for each share of the first, (K, classes) float32.

    Examples
    --------
    >>> from minidl.models.chairs import morph
    >>> morph(0, 2, 3, shares=(1, 0.25)).tolist()
    [[1.0, 0.0, 0.0], [0.25, 0.0, 0.75]]
    """
    if not (0 <= first < classes and 0 <= second < classes and all(0 <= s <= 1 for s in shares)):
        raise ArgumentError(
            f"morph: there are classes 0 to {classes - 1} and shares from 0 to 1, received "
            f"{first}, {second} and {tuple(shares)}"
        )
    mixes = np.zeros((len(shares), classes), np.float32)
    mixes[:, first] += np.asarray(shares, np.float32)
    mixes[:, second] += 1 - np.asarray(shares, np.float32)
    return mixes
