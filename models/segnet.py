"""SegNet: the decoder puts each value back where the encoder's max-pool took it from.

    x (N, 3, H, W) -> logits (N, classes, H, W)

A max-pool forgets where in its window the maximum was. SegNet keeps that one
number, the index, and nothing else: the decoder enlarges by max-unpooling,
zeros everywhere but at the indices, and convolutions fill the gaps. So edges
return to the pixel they came from, without storing the encoder's maps.

    encoder          channels       360x480      decoder           channels
    conv1_1, 1_2     64, 64         360x480      conv1_2_D, 1_1_D  64, classes
    conv2_1, 2_2     128, 128       180x240      conv2_2_D, 2_1_D  128, 64
    conv3_1 ... 3_3  256, 256, 256   90x120      conv3_3_D ...     256, 256, 128
    conv4_1 ... 4_3  512, 512, 512   45x60       conv4_3_D ...     512, 512, 256
    conv5_1 ... 5_3  512, 512, 512   23x30       conv5_3_D ...     512, 512, 512
    (pool5)                          12x15

Every convolution is 3x3 and is followed by batch norm and ReLU, except the last
one, which gives the logits. 45 rows pool to 23, an incomplete window among them,
and are unpooled to 45 again. With 11 classes: 29,449,355 parameters.

SegNet-Basic has four 7x7 convolutions of 64 channels on either side, no ReLU in
the decoder, and 1,416,587 parameters, 1,024 of them in batch norm.

Source: Badrinarayanan, Kendall & Cipolla 2017, "SegNet: a deep convolutional
encoder-decoder architecture for image segmentation", sections 3 and 4, and the
authors' release of network definitions, which is the default where they differ.
Dropout: Kendall, Badrinarayanan & Cipolla 2015, "Bayesian SegNet"; its places
are the release's, sampling at test time is from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.errors import ArgumentError, message
from minidl.functional.pool import PickWindows
from minidl.models.fcn import copy_vgg16, vgg16_plan
from minidl.models.width import scaled
from minidl.nn.modes import modes_kept

EPS = 1e-9
"""Number that the release adds to batch norm's variance."""
SHIFT = 0.001
"""Initial shift of batch norm in the release."""

UPSAMPLINGS = ("indices", "fixed", "bilinear")


class Mirror(nn.Module):
    """An encoder whose max-pools are undone, last one first, by a decoder.

    (N, C, H, W) -> (N, classes, H, W)

    Parameters
    ----------
    encoder : sequence of Module
        Stages that keep H and W; a 2x2 max-pool follows each.
    decoder : sequence of Module
        As many stages that keep H and W; an enlargement precedes each.
    middle : Module, optional
        Layers between the last pool and the first enlargement; keeps H and W.
    dropout : set of int
        Dropout 0.5 after these pools, numbered from 1.
    upsampling : {"indices", "fixed", "bilinear"}
        "indices" puts values back where they came from; "fixed" puts them to
        the top left of each 2x2 cell; "bilinear" interpolates. The last two
        are for comparison.
    """

    def __init__(
        self,
        encoder: Sequence[nn.Module],
        decoder: Sequence[nn.Module],
        middle: nn.Module | None = None,
        dropout: Iterable[int] = (),
        upsampling: str = "indices",
    ):
        super().__init__()
        if upsampling not in UPSAMPLINGS:
            raise ArgumentError(
                message(
                    f"{type(self).__name__}: unknown upsampling {upsampling!r}",
                    hint=f"choose one of {UPSAMPLINGS}.",
                )
            )
        self.upsampling = upsampling
        self.encoder, self.decoder = nn.ModuleList(encoder), nn.ModuleList(decoder)
        self.middle = nn.Identity() if middle is None else middle
        dropped = set(dropout)
        self.after_pool = nn.ModuleList(
            nn.Dropout() if level in dropped else nn.Identity()
            for level in range(1, len(self.encoder) + 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each pixel."""
        pooled: list[tuple[Tensor, tuple[int, int]]] = []
        for layers, dropout in zip(self.encoder, self.after_pool, strict=True):
            x = layers(x)
            size = x.shape[2], x.shape[3]
            x, indices = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
            pooled.append((indices, size))
            x = dropout(x)
        x = self.middle(x)
        for layers in self.decoder:
            x = layers(self._enlarged(x, *pooled.pop()))
        return x

    def _enlarged(self, x: Tensor, indices: Tensor, size: tuple[int, int]) -> Tensor:
        """Enlarge (N, C, I, J) to (N, C, H, W), the size before the pool."""
        if self.upsampling == "bilinear":
            return F.interpolate(x, size, mode="bilinear", align_corners=False)
        if self.upsampling == "fixed":
            return F.fixed_unpool2d(x, 2)[:, :, : size[0], : size[1]]
        # F.max_unpool2d, but for its look at the indices, which would wait for the GPU.
        return PickWindows(indices.data, size).transposed()(x)

    def posterior(self, x: Tensor, samples: int = 40) -> tuple[Tensor, Tensor]:
        """Mean and variance of the class probabilities over draws of the dropout.

        Where the draws disagree, the network does not know. Batch norm uses its
        running statistics; no gradient is recorded.

        Returns
        -------
        mean, variance : Tensor, shape (N, classes, H, W)

        Raises
        ------
        ArgumentError
            If the network has no dropout to draw.
        """
        layers = [m for m in self.modules() if isinstance(m, nn.Dropout)]
        if not layers or samples < 1:
            raise ArgumentError(
                message(
                    f"{type(self).__name__}: {samples} samples of {len(layers)} dropouts",
                    hint="build the network with bayesian=True, and draw at least once.",
                )
            )
        with modes_kept(self), no_grad():
            self.eval()
            for layer in layers:
                layer.train()
            total: Any = 0.0
            squares: Any = 0.0
            for _ in range(samples):
                p = F.softmax(self(x), 1)
                total, squares = total + p, squares + F.square(p)
        mean = total / samples
        return mean, F.clip(squares / samples - F.square(mean), min=0)


class SegNet(Mirror):
    """SegNet on VGG-16's convolutions.

    (N, C, H, W) -> (N, classes, H, W)

    Parameters
    ----------
    classes : int
        11 in the release, for CamVid.
    bayesian : bool
        Dropout 0.5 after pool3, pool4, pool5 and the decoder's stages 5, 4, 3.
    width : float
        Scales the number of channels of all layers but the last.
    in_channels : int
        C.
    upsampling : {"indices", "fixed", "bilinear"}
        As in ``Mirror``.
    eps : float
        Number added to batch norm's variance. The release's default of 1e-9 makes
        gradients of a channel that is nearly constant very large.
    """

    def __init__(
        self,
        classes: int = 11,
        bayesian: bool = False,
        width: float = 1.0,
        in_channels: int = 3,
        upsampling: str = "indices",
        eps: float = EPS,
    ):
        plan = vgg16_plan(in_channels, width)
        encoder = [stage([(n, he_conv(c, o, 3)) for n, c, o in layers], eps) for layers in plan]
        decoder = []
        for level in (5, 4, 3, 2, 1):
            back = [*reversed(plan[level - 1])][: -1 if level == 1 else None]
            decoder.append(stage([(f"{n}_D", he_conv(o, c, 3)) for n, c, o in back], eps))
            if bayesian and level >= 3:
                decoder[-1].add_module("dropout", nn.Dropout())
        decoder[-1].add_module("conv1_1_D", he_conv(plan[0][0][2], classes, 3))
        dropout = (3, 4, 5) if bayesian else ()
        super().__init__(encoder, decoder, dropout=dropout, upsampling=upsampling)

    def copy_vgg16(self, state: Mapping[str, Any]) -> None:
        """Start the encoder from a VGG-16 of torchvision's names; see ``fcn.copy_vgg16``."""
        copy_vgg16(self, state)


class SegNetBasic(Mirror):
    """SegNet-Basic, the smaller network of the paper's comparison of decoders.

    (N, C, H, W) -> (N, classes, H, W)

    Parameters
    ----------
    classes : int
        11 in the release, for CamVid.
    bayesian : bool
        Dropout 0.5 after pool3, pool4 and the decoder's stages 4, 3.
    bias : bool
        Whether convolutions have one: True in the release, False in the paper.
    normalise : bool
        Whether local response norm is the first layer, as in the release. The
        paper normalises local contrast instead, which is left to the data.
    width : float
        Scales the 64 channels.
    in_channels : int
        C.
    upsampling : {"indices", "fixed", "bilinear"}
        As in ``Mirror``.
    eps : float
        Number added to batch norm's variance.
    """

    def __init__(
        self,
        classes: int = 11,
        bayesian: bool = False,
        bias: bool = True,
        normalise: bool = True,
        width: float = 1.0,
        in_channels: int = 3,
        upsampling: str = "indices",
        eps: float = EPS,
    ):
        o = scaled(64, width)
        encoder, decoder = [], []
        for level in (1, 2, 3, 4):
            conv = he_conv(in_channels if level == 1 else o, o, 7, bias)
            encoder.append(stage([(f"conv{level}", conv)], eps))
        for level in (4, 3, 2, 1):
            conv = he_conv(o, o, 7, bias)
            decoder.append(stage([(f"conv_decode{level}", conv)], eps, relu=False))
            if bayesian and level >= 3:
                decoder[-1].add_module("dropout", nn.Dropout())
        decoder[-1].add_module("conv_classifier", he_conv(o, classes, 1, bias))
        dropout = (3, 4) if bayesian else ()
        super().__init__(encoder, decoder, dropout=dropout, upsampling=upsampling)
        self.norm = nn.LocalResponseNorm(5, 1e-4, 0.75) if normalise else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each pixel."""
        return super().forward(self.norm(x))


def recompute_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set batch norm's running statistics to the plain mean over these batches.

    The release keeps no running average while it trains: it makes one pass over
    the training set afterwards, in training mode, so with dropout if there is any.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    try:
        with modes_kept(model), no_grad():
            model.train()
            for x in batches:
                model(x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def he_conv(c: int, o: int, window: int, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size and starts as the release's: normal, bias 0."""
    conv = nn.Conv2d(c, o, window, padding=window // 2, bias=bias)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def stage(
    layers: Sequence[tuple[str, nn.Conv2d | nn.ConvTranspose2d]], eps: float, relu: bool = True
) -> nn.Sequential:
    """Convolutions, each with batch norm and ReLU behind it."""
    parts: dict[str, nn.Module] = {}
    for name, conv in layers:
        norm = nn.BatchNorm2d(conv.out_channels, eps)
        if norm.bias is not None:
            nn.init.constant_(norm.bias, SHIFT)
        parts |= {name: conv, f"{name}_bn": norm}
        if relu:
            parts[f"{name}_relu"] = nn.ReLU()
    return nn.Sequential(parts)


def parameter_groups(model: Mirror, lr: float) -> list[dict[str, Any]]:
    """The releases' groups for an optimiser: factors; biases, twice as fast; batch norm's shifts.

    The biases of convolutions never decay. Shifts do where the release says nothing of them
    (SegNet-Basic, DeconvNet), and do not in SegNet's, which says so layer by layer. With
    ``SGD(parameter_groups(model, lr), lr, momentum=0.9, weight_decay=5e-4)`` the releases train
    SegNet at a rate of 1e-3, SegNet-Basic at 0.1, and DeconvNet at 0.01.
    """
    factors: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    shifts: list[nn.Parameter] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            added = shifts if isinstance(module, nn.BatchNorm2d) else biases
            factors += [] if module.weight is None else [module.weight]
            added += [] if module.bias is None else [module.bias]
    spared = {"weight_decay": 0.0} if isinstance(model, SegNet) else {}
    return [
        {"params": factors},
        {"params": biases, "lr": 2 * lr, "weight_decay": 0.0},
        {"params": shifts, **spared},
    ]
