"""DeePSiM: an image drawn from what a network has seen in it, and judged by two networks more.

    features f of a comparator C -> generator G(f) (N, 3, 227, 227)
    judged by C(G(f)) against C(x), by pixels, and by a discriminator D: real or generated?

    generator, from fc6 or fc7        window, stride   out             coefficient
    defc7, defc6, defc5               fully connected  4096, three times          1
                                      reshaped         256 x 4x4
    deconv5                           4x4, 2           256 x 8x8                  1.8
    conv5_1                           3x3              512 x 8x8                  0.9
    deconv4, conv4_1                  4x4, 2; 3x3      256 x 16x16                1.8, 0.9
    deconv3, conv3_1                  4x4, 2; 3x3      128 x 32x32                1.8, 0.9
    deconv2                           4x4, 2           64 x 64x64                 1.8
    deconv1                           4x4, 2           32 x 128x128               1.8
    deconv0, linear                   4x4, 2           3 x 256x256                1.8
    centre                            from 14          3 x 227x227

    from pool5 (256 x 6x6): three 3x3 convolutions of 512, the third valid (4x4), in place of
    the fully connected layers; then deconv5 and so on

All rows but the last have a leaky ReLU of slope 0.3; ``deconv`` and ``conv`` rows are both
transposed convolutions, without bias (in the release they have some that stay 0: 1,635 numbers).
Weights start from N(0, (coefficient)^2 2 / n), n = O K L for them, which is what Caffe calls
their inputs. 56,096,256 parameters from fc6 or fc7, 12,700,672 from pool5 (derived).

    discriminator                     out (227x227)    coefficient
    conv1 7x7, stride 4               32 x 56x56       0.1
    conv2 5x5                         64 x 52x52       1
    conv3 3x3, stride 2               128 x 25x25      1
    conv4 3x3                         256 x 23x23      1
    conv5 3x3, stride 2               256 x 11x11      1
    means, dropout 0.5                256
    beside them, if conditional       512: f through fully connected layers of 1024 and 512
    fc6, dropout 0.5                  256 (512 in the paper)                      0.1
    fc7                               2: scores of real, of generated             0.1

Valid convolutions, ReLU. 1,081,410 parameters, or 5,932,610 with fc6's 4096 features (derived).

The comparator is any function of images; as published CaffeNet's pool5, see ``Comparator``.

Source: Dosovitskiy & Brox 2016, "Generating images with perceptual similarity metrics based on deep
networks". Generators, unconditional discriminator, pausing rule and CaffeNet are as in the authors'
release and in published training code; the condition's layers are from a second program, and that
they have ReLUs and start like the others is our guess, as is coefficient 1 of pool5's convolutions.
The autoencoder's 8x8x8 code is from the authors' notes; its encoder, and the VAE's, whose tables
were not to be found, are ours. That the paper's fc6 has 512 units, and its VAE's encoder the
layers of AlexNet, is from memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

import minidl.functional as F
from minidl import Tensor, nn, random
from minidl.errors import ArgumentError, ShapeError, message
from minidl.models.autoencoder import conv_encoder
from minidl.models.unet import centre_crop
from minidl.models.width import scaled
from minidl.nn import init
from minidl.nn.taps import tap
from minidl.tensor import as_tensor

SLOPE = 0.3
"""Slope of the leaky ReLUs below 0."""
MEAN = (104.0, 117.0, 123.0)
"""Means of blue, green and red bytes."""

ROWS = (
    (("deconv5", 4, 256), ("conv5_1", 3, 512)),
    (("deconv4", 4, 256), ("conv4_1", 3, 256)),
    (("deconv3", 4, 128), ("conv3_1", 3, 128)),
    (("deconv2", 4, 64),),
    (("deconv1", 4, 32),),
    (("deconv0", 4, 3),),
)
"""Name, window and O of the layers at 8x8, 16x16, ..., 256x256."""

Shape3 = tuple[int, int, int]
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def _spread(layer: Layer, coefficient: float) -> Layer:
    """Draw a layer's weights as Caffe's "msra" filler, times a coefficient; bias 0."""
    n = math.prod(layer.weight.shape[1:])
    init.normal_(layer.weight, std=coefficient * (2 / n) ** 0.5)
    if layer.bias is not None:
        init.zeros_(layer.bias)
    return layer


class Generator(nn.Module):
    """A network that draws images from features.

    (N, F) or (N, C, H, W) -> (N, 3, image, image), BGR bytes minus MEAN

    Parameters
    ----------
    code : int or (C, H, W)
        4096 for fc6 and fc7; (256, 6, 6) for pool5.
    image : int
        Pixels a side; what is larger is cut to its centre. From 64 downwards the last rows
        are left out, and the last that remains puts out 3 channels.
    width : float
        Scales units and channels.
    valid : bool
        Whether the third convolution on a code (C, H, W) is valid: its map is 2 smaller.

    Raises
    ------
    ArgumentError
        If enlargements cannot start from this code, or not end at this image.
    """

    def __init__(
        self,
        code: int | Shape3 = 4096,
        image: int = 227,
        width: float = 1.0,
        valid: bool = True,
    ):
        super().__init__()
        self.code = (code,) if isinstance(code, int) else tuple(code)
        self.image = image
        vector = len(self.code) == 1
        side = 4 if vector else self.code[-1] - 2 * valid
        if not vector and self.code[-2] != self.code[-1]:
            side = 0
        plan = _plan(side, image)
        if not plan:
            raise ArgumentError(
                message(
                    "Generator: rows double a square map of 4, 8, 16 or 32 pixels, up to 256",
                    f"received code = {code}, image = {image}, which start from {side}",
                )
            )
        channels = scaled(256 if vector else 512, width)
        if vector:
            self.head = _dense_head(self.code[0], scaled(4096, width), channels)
        else:
            self.head = _map_head(self.code[0], channels, valid)
        self.rows = nn.Sequential()
        for i, (name, window, outputs) in enumerate(plan, 1):
            last = i == len(plan)
            o = 3 if last else scaled(outputs, width)
            layer = nn.ConvTranspose2d(
                channels, o, window, stride=2 if window == 4 else 1, padding=1, bias=False
            )
            self.rows.add_module(name, _spread(layer, 1.8 if window == 4 else 0.9))
            if not last:
                self.rows.add_module(f"relu_{name}", nn.LeakyReLU(SLOPE))
            channels = o

    def forward(self, f: Any) -> Tensor:
        """Draw images from features."""
        f = as_tensor(f)
        if f.shape[1:] != self.code:
            raise ShapeError(
                f"Generator: features must be (N, {', '.join(map(str, self.code))}), "
                f"received shape {f.shape}"
            )
        return centre_crop(self.rows(self.head(f)), (self.image, self.image))


def _plan(side: int, image: int) -> list[tuple[str, int, int]]:
    """The rows that lead from a map to an image at least as large, or none if there are none."""
    if side not in (4, 8, 16, 32) or not side < image <= 256:
        return []
    first = (side // 4).bit_length() - 1
    count = math.ceil(math.log2(image / side))
    *above, last = ROWS[first : first + count]
    # The last enlargement draws the picture; a 3x3 row behind it is left out.
    return [row for level in above for row in level] + [last[0]]


def _dense_head(features: int, hidden: int, channels: int) -> nn.Sequential:
    sizes = [features, hidden, hidden, channels * 16]
    layers: list[nn.Module] = []
    for c, o in pairwise(sizes):
        layers += [_spread(nn.Linear(c, o), 1), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Unflatten(1, (channels, 4, 4)))


def _map_head(c: int, channels: int, valid: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for padding in (1, 1, 0 if valid else 1):
        layers += [_spread(nn.Conv2d(c, channels, 3, padding=padding), 1), nn.LeakyReLU(SLOPE)]
        c = channels
    return nn.Sequential(*layers)


class Discriminator(nn.Module):
    """A judge of images (N, 3, H, W): scores of real and of generated, (N, 2).

    Parameters
    ----------
    condition : int
        Features of the vector that the image is to fit; 0 for none, as in the published
        training code.
    image : int
        Pixels a side, the least; 227 are published, ``stride=1`` does for 32.
    width : float
        Scales units and channels.
    hidden : int
        Units of fc6, before scaling: 256 in the training code, 512 in the paper.
    stride : int
        Stride of conv1.
    """

    def __init__(
        self,
        condition: int = 0,
        image: int = 227,
        width: float = 1.0,
        hidden: int = 256,
        stride: int = 4,
    ):
        super().__init__()
        self.condition = condition
        self.convolutions = nn.Sequential()
        c, left = 3, image
        table = ((7, stride, 32), (5, 1, 64), (3, 2, 128), (3, 1, 256), (3, 2, 256))
        for i, (window, step, outputs) in enumerate(table, 1):
            o = scaled(outputs, width)
            layer = nn.Conv2d(c, o, window, stride=step)
            self.convolutions.add_module(f"conv{i}", _spread(layer, 0.1 if i == 1 else 1))
            self.convolutions.add_module(f"relu{i}", nn.ReLU())
            c, left = o, (left - window) // step + 1
        if left < 1 or condition < 0:
            raise ArgumentError(
                message(
                    "Discriminator: nothing of the image would be left",
                    f"received image = {image}, stride = {stride}, condition = {condition}",
                    hint="stride=1 does for 32 pixels a side, stride=4 for 64.",
                )
            )
        self.of_condition: nn.Sequential | None = None
        if condition:
            first, second = scaled(1024, width), scaled(512, width)
            self.of_condition = nn.Sequential(
                _spread(nn.Linear(condition, first), 1), nn.ReLU(),
                _spread(nn.Linear(first, second), 1), nn.ReLU(),
            )
            c += second
        units = scaled(hidden, width)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), _spread(nn.Linear(c, units), 0.1), nn.ReLU(),
            nn.Dropout(0.5), _spread(nn.Linear(units, 2), 0.1),
        )

    def forward(self, x: Any, f: Any = None) -> Tensor:
        """Scores of real and of generated, (N, 2).

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
            BGR bytes minus MEAN.
        f : Tensor, shape (N, condition), optional
            Features, if and only if the discriminator is conditional.
        """
        if (f is None) != (self.of_condition is None):
            raise ArgumentError(
                f"Discriminator: condition = {self.condition}, and features were "
                f"{'not ' if f is None else ''}given"
            )
        pooled = self.convolutions(x).mean((2, 3))
        if self.of_condition is not None:
            pooled = F.cat([pooled, self.of_condition(f)], 1)
        return self.classifier(pooled)


@dataclass
class PauseRule:
    """A rule of who learns next, so that neither of the two networks outruns the other.

    With r = (error on real + error on generated) / error of the generator, all unweighted
    cross-entropies of one step:

    - r < ``low`` while the discriminator learns: it pauses, the generator learns;
    - r > ``high`` while the discriminator pauses: both learn;
    - r > ``top`` while the generator learns: it pauses, the discriminator learns.

    They are gone through in this order. A generator that has paused so stays paused until
    r < ``low``.

    Examples
    --------
    >>> from minidl.models.deepsim import PauseRule
    >>> rule = PauseRule()
    >>> rule.update(real=0.01, generated=0.01, fooling=5.0)  # the discriminator is far ahead
    (False, True)
    >>> rule.update(real=0.5, generated=0.5, fooling=1.0)
    (True, True)
    """

    low: float = 0.1
    """Least r at which the discriminator goes on learning."""
    high: float = 0.5
    """Largest r at which the discriminator stays paused."""
    top: float = 10.0
    """Largest r at which the generator goes on learning."""
    discriminator: bool = True
    """Whether the discriminator learns."""
    generator: bool = True
    """Whether the generator learns."""

    def update(self, real: float, generated: float, fooling: float) -> tuple[bool, bool]:
        """Whether the discriminator and the generator learn after a step of these errors.

        ``fooling`` is the generator's: the cross-entropy of its images with the label real.
        """
        total = real + generated
        r = total / fooling if fooling else math.inf if total else math.nan
        if r < self.low and self.discriminator:
            self.discriminator, self.generator = False, True
        if r > self.high and not self.discriminator:
            self.discriminator, self.generator = True, True
        if r > self.top and self.generator:
            self.discriminator, self.generator = True, False
        return self.discriminator, self.generator


# --- comparators ---


class CaffeNet(nn.Module):
    """BVLC's reference CaffeNet: AlexNet in one piece, with pooling before normalisation.

    x (N, 3, 227, 227), BGR bytes minus means -> scores (N, 1000)

    Layers, to be tapped: conv1 (11x11, stride 4, 96), relu1, pool1 (3x3, stride 2), norm1,
    conv2 (5x5, 256, 2 groups), relu2, pool2, norm2, conv3 (3x3, 384), relu3, conv4 (384, 2
    groups), relu4, conv5 (256, 2 groups), relu5, pool5 (256 x 6x6), flatten, fc6 (4096),
    relu6, drop6, fc7, relu7, drop7, fc8. 60,965,224 parameters. Caffe's ReLUs work in place:
    what it calls fc6 and fc7 are ``relu6`` and ``relu7`` here. Weights start as the layers'
    own: none are published with minidl.

    Parameters
    ----------
    num_classes : int
    image : int
        Pixels a side.
    width : float
        Scales units and channels.
    """

    def __init__(self, num_classes: int = 1000, image: int = 227, width: float = 1.0):
        super().__init__()
        if image < 67:
            raise ArgumentError(f"CaffeNet: images need at least 67 pixels, received {image}")
        c = [2 * scaled(half, width) for half in (48, 128, 192, 192, 128)]  # two groups each
        hidden = scaled(4096, width)
        norm, pool = nn.LocalResponseNorm, nn.MaxPool2d
        layers: dict[str, nn.Module] = {
            "conv1": nn.Conv2d(3, c[0], 11, stride=4), "relu1": nn.ReLU(),
            "pool1": pool(3, 2, ceil_mode=True), "norm1": norm(5),
            "conv2": nn.Conv2d(c[0], c[1], 5, padding=2, groups=2), "relu2": nn.ReLU(),
            "pool2": pool(3, 2, ceil_mode=True), "norm2": norm(5),
            "conv3": nn.Conv2d(c[1], c[2], 3, padding=1), "relu3": nn.ReLU(),
            "conv4": nn.Conv2d(c[2], c[3], 3, padding=1, groups=2), "relu4": nn.ReLU(),
            "conv5": nn.Conv2d(c[3], c[4], 3, padding=1, groups=2), "relu5": nn.ReLU(),
            "pool5": pool(3, 2, ceil_mode=True), "flatten": nn.Flatten(),
        }
        left = (image - 11) // 4 + 1
        for _ in range(3):
            left = -(-(left - 3) // 2) + 1
        layers |= {
            "fc6": nn.Linear(c[4] * left**2, hidden), "relu6": nn.ReLU(), "drop6": nn.Dropout(0.5),
            "fc7": nn.Linear(hidden, hidden), "relu7": nn.ReLU(), "drop7": nn.Dropout(0.5),
            "fc8": nn.Linear(hidden, num_classes),
        }
        self.layer_names = tuple(layers)
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)

    def forward(self, x: Any) -> Tensor:
        """Scores of the classes."""
        return self.layers(x)

    def taps(self, x: Any, names: Iterable[str]) -> dict[str, Tensor]:
        """What the named layers put out, in one pass that goes no further than it must."""
        layers = dict(zip(self.layer_names, self.layers, strict=True))
        return tap("CaffeNet", layers, as_tensor(x), names)


class Comparator:
    """A network up to one of its layers, frozen: gradients pass through it to the image.

    (N, 3, H, W) -> (N, ...)

    Parameters
    ----------
    network : Module with a method ``taps``
        CaffeNet, or minidl.models.vgg's VGG. It is set to evaluation mode, and its
        parameters no longer want gradients.
    layer : str
    """

    def __init__(self, network: Any, layer: str = "pool5"):
        self.network, self.layer = network.eval().requires_grad_(False), layer

    def __call__(self, x: Any) -> Tensor:
        return self.network.taps(x, [self.layer])[self.layer]


# --- autoencoders that are judged in the same way ---


class DeepsimAutoencoder(nn.Module):
    """An encoder to a small map, and the generator back.

    x (N, 3, image, image) -> code (N, channels, image / 8, image / 8) -> image

    Published are 64x64 crops, so a code of 8 x 8x8. The encoder, three 3x3 convolutions of
    stride 2 and one of stride 1, is ours; so is which rows of the table follow (the last three
    enlargements up to 64x64).

    Parameters
    ----------
    image : {64, 32}
    channels : int
        Channels of the code.
    width : float
        Scales channels.
    """

    def __init__(self, image: int = 64, channels: int = 8, width: float = 1.0):
        super().__init__()
        if image not in (32, 64):
            raise ArgumentError(f"DeepsimAutoencoder: image is 32 or 64, received {image}")
        layers: list[nn.Module] = []
        c = 3
        for outputs in (64, 128, 256):
            o = scaled(outputs, width)
            layers += [_spread(nn.Conv2d(c, o, 3, stride=2, padding=1), 1), nn.LeakyReLU(SLOPE)]
            c = o
        self.encoder = nn.Sequential(*layers, _spread(nn.Conv2d(c, channels, 3, padding=1), 1))
        self.generator = Generator((channels, image // 8, image // 8), image, width, valid=False)

    def forward(self, x: Any) -> Tensor:
        """The image drawn from each image's code."""
        return self.generator(self.encoder(x))


class DeepsimVAE(nn.Module):
    """A VAE whose pixel error is replaced by DeePSiM's loss; the KL term stays.

    Parameters
    ----------
    encoder : Module
        x -> (N, 2 Z): mean and log variance, side by side.
    generator : Generator
        A generator from codes of Z features.
    """

    def __init__(self, encoder: nn.Module, generator: Generator):
        super().__init__()
        if len(generator.code) != 1:
            raise ArgumentError(
                f"DeepsimVAE: the generator's code must be a vector, it is {generator.code}"
            )
        self.encoder, self.generator = encoder, generator
        self.latent = generator.code[0]

    def encode(self, x: Any) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (N, Z)."""
        mean, log_var = F.split(self.encoder(x), self.latent, 1)
        return mean, log_var

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        """The image of a code drawn from q(z|x), and KL(q(z|x) || N(0, I)) in nats, (N,)."""
        mean, log_var = self.encode(x)
        noise = random.normal(mean.shape, mean.dtype, mean.device)
        return (
            self.generator(mean + F.exp(log_var / 2) * noise),
            F.gaussian_kl(mean, log_var).sum(1),
        )

    def sample(self, n: int) -> Tensor:
        """Draw n images of codes from N(0, I), (n, 3, H, W)."""
        first = next(iter(self.parameters()))
        return self.generator(random.normal((n, self.latent), first.dtype, first.device))


def caffenet_vae(latent: int, image: int = 227, width: float = 1.0) -> DeepsimVAE:
    """The VAE of AlexNet's layers, as in the paper: CaffeNet with 2 Z outputs, and back."""
    return DeepsimVAE(CaffeNet(2 * latent, image, width), Generator(latent, image, width))


def small_vae(latent: int = 32, image: int = 32, width: float = 1 / 8) -> DeepsimVAE:
    """A VAE for images too small for AlexNet's layers: three convolutions of stride 2."""
    channels = [scaled(c, width) for c in (64, 128, 256)]
    encoder = conv_encoder((3, image, image), channels, 2 * latent)
    return DeepsimVAE(encoder, Generator(latent, image, width))


# --- pixels ---


def to_bytes(x: Any) -> Tensor:
    """Turn RGB in [0, 1] into what these networks see: BGR bytes minus MEAN, (N, 3, H, W)."""
    x = _images("to_bytes", x)
    return F.stack([x[:, 2 - c] * 255 - mean for c, mean in enumerate(MEAN)], 1)


def to_rgb(y: Any) -> Tensor:
    """Turn BGR bytes minus MEAN into RGB, clipped to [0, 1], (N, 3, H, W)."""
    y = _images("to_rgb", y)
    colours = [(y[:, c] + mean) / 255 for c, mean in enumerate(MEAN)]
    return F.clip(F.stack(colours[::-1], 1), 0, 1)


def _images(who: str, x: Any) -> Tensor:
    x = as_tensor(x)
    if x.ndim != 4 or x.shape[1] != 3:
        raise ShapeError(f"{who}: images must be (N, 3, H, W), received shape {x.shape}")
    return x
