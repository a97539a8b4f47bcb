"""DeconvNet: VGG-16 down to a single vector, and its mirror image back up.

    x (N, 3, H, W) -> logits (N, classes, H, W)

Going up, *unpooling* puts each value back to where the max-pool of the same
level found it (its switch), which brings back the structure of the object, and
*transposed convolutions* of stride 1 make the sparse map dense, which brings
back its shape in detail. Between the two halves, fc6 sees all of the image.

    down             channels       224x224   up                   channels
    conv1_1, 1_2     64, 64         224       deconv1_1, 1_2       64, 64
    conv2_1, 2_2     128, 128       112       deconv2_1, 2_2       128, 64
    conv3_1 ... 3_3  256, 256, 256   56       deconv3_1 ... 3_3    256, 256, 128
    conv4_1 ... 4_3  512, 512, 512   28       deconv4_1 ... 4_3    512, 512, 256
    conv5_1 ... 5_3  512, 512, 512   14       deconv5_1 ... 5_3    512, 512, 512
    (pool5)          512              7       fc6-deconv (7x7)     512
    fc6 (7x7)        4096             1
    fc7 (1x1)        4096             1       seg-score (1x1), last  classes

Windows are 3x3 unless given. Batch norm and ReLU follow every layer but
seg-score. With 21 classes: 251,805,653 parameters, four fifths of them in fc6
and fc6-deconv.

Source: Noh, Hong & Han 2015, "Learning deconvolution network for semantic
segmentation", section 3, and the authors' release, whose batch norm (eps 1e-9,
shift 0.001) and start of the decoder (normal, deviation 0.01) are the defaults.
The release copies the encoder from VGG-16; without that it starts as He et al. 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from minidl import Tensor, nn
from minidl.errors import ShapeError, message
from minidl.models.fcn import copy_vgg16, vgg16_plan
from minidl.models.segnet import EPS, Mirror, he_conv, stage
from minidl.models.vgg import VGG
from minidl.models.width import scaled

Convolution = TypeVar("Convolution", nn.Conv2d, nn.ConvTranspose2d)


class DeconvNet(Mirror):
    """The deconvolution network.

    (N, C, H, W) -> (N, classes, H, W)

    H and W are 224 in the paper. Any size does whose fifth pool, of
    ceil(H / 32) x ceil(W / 32), holds fc6's window: the maps are unpooled to the
    sizes that they had.

    Parameters
    ----------
    classes : int
        21 in PASCAL VOC, the background among them.
    width : float
        Scales the number of channels of all layers but the last.
    in_channels : int
        C.
    window : int
        Window of fc6 and fc6-deconv. With 7, images need at least 193 pixels a side.
    upsampling : {"indices", "fixed", "bilinear"}
        "indices" unpools by switches; see ``segnet.Mirror`` for the others.
    eps : float
        Number added to batch norm's variance.
    std : float
        Standard deviation that the weights going up start with. 0.01 is the
        release's, for hundreds of channels and small steps; a network of few
        channels learns sooner from about sqrt(2 / (9 channels)).

    Notes
    -----
    At 224x224, batch norm behind fc6 and fc7 sees one value per image and
    channel. It refuses to train on a single image, and of two it leaves only
    which is larger: train on a batch of several, 64 in the release. Its optimiser is
    ``SGD(segnet.parameter_groups(model, lr), lr, momentum=0.9, weight_decay=5e-4)``, lr = 0.01.
    """

    def __init__(
        self,
        classes: int = 21,
        width: float = 1.0,
        in_channels: int = 3,
        window: int = 7,
        upsampling: str = "indices",
        eps: float = EPS,
        std: float = 0.01,
    ):
        plan = vgg16_plan(in_channels, width)
        encoder = [stage([(n, he_conv(c, o, 3)) for n, c, o in layers], eps) for layers in plan]
        top, hidden = plan[-1][-1][2], scaled(4096, width)
        fc6 = he_conv(top, hidden, window)
        fc6.padding = (0, 0)
        middle = stage([
            ("fc6", fc6),
            ("fc7", he_conv(hidden, hidden, 1)),
            ("fc6-deconv", _deconv(hidden, top, window, 0, std)),
        ], eps)
        decoder = [
            stage(_deconvs(level, layers, std), eps)
            for level, layers in reversed([*enumerate(plan, 1)])
        ]
        score = _started(nn.Conv2d(plan[0][0][2], classes, 1), std)
        decoder[-1].add_module("seg-score", score)
        super().__init__(encoder, decoder, middle, upsampling=upsampling)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each pixel."""
        top = tuple(-(-size // 32) for size in x.shape[2:])
        if min(top) < self.window:
            raise ShapeError(
                message(
                    "DeconvNet: the image is too small for fc6",
                    f"x has shape {x.shape}, so pool5 is {top[0]} x {top[1]}; "
                    f"fc6's window is {self.window} x {self.window}",
                    hint=f"use images of at least {32 * (self.window - 1) + 1} pixels a side, "
                    "or a smaller window.",
                )
            )
        return super().forward(x)

    def copy_encoder(self, vgg: VGG) -> None:
        """Start from a VGG-16 of the same width with batch norm: its convolutions and norms.

        fc6 and fc7 stay as they are.
        """
        layers = {path.rpartition(".")[2]: module for path, module in self.named_modules()}
        for name, module in zip(vgg.layer_names, vgg.features, strict=False):
            if name.startswith(("conv", "bn")):
                own = name if name.startswith("conv") else name.replace("bn", "conv") + "_bn"
                layers[own].load_state_dict(module.state_dict())

    def copy_vgg16(self, state: Mapping[str, Any]) -> None:
        """Start the encoder, fc6 and fc7 from a VGG-16; see ``fcn.copy_vgg16``."""
        copy_vgg16(self, state)


def _deconvs(
    level: int, layers: list[tuple[str, int, int]], std: float
) -> list[tuple[str, nn.ConvTranspose2d]]:
    """An encoder's stage, mirrored; the stage's last layer narrows to the next one's C.

    The lowest stage keeps its channels, since no colours are wanted but scores.
    """
    outputs = [c for _, c, _ in reversed(layers)]
    if level == 1:
        outputs[-1] = layers[0][2]
    c, deconvs = layers[-1][2], []
    for j, o in enumerate(outputs, 1):
        deconvs.append((f"deconv{level}_{j}", _deconv(c, o, 3, 1, std)))
        c = o
    return deconvs


def _deconv(c: int, o: int, window: int, padding: int, std: float) -> nn.ConvTranspose2d:
    return _started(nn.ConvTranspose2d(c, o, window, padding=padding), std)


def _started(layer: Convolution, std: float) -> Convolution:
    """Start a layer as the release's decoder does: weights normal, bias 0."""
    nn.init.normal_(layer.weight, std=std)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
