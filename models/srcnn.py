"""SRCNN: three convolutions that do what sparse coding of patches did before.

    x (N, 1, H, W), enlarged bicubically -> y (N, 1, H, W)

    layer   9-1-5        9-3-5        9-5-5        behind it   what for
    conv1   64 of 9x9    64 of 9x9    64 of 9x9    ReLU        describe each patch
    conv2   32 of 1x1    32 of 3x3    32 of 5x5    ReLU        map it to a sharp patch's description
    conv3    1 of 5x5     1 of 5x5     1 of 5x5    -           mix the overlapping patches

    parameters      8,129       24,513       57,281
    pixels seen     13 x 13     15 x 15      17 x 17

The network sees luma alone, from 0 to 1, already of the large size, and answers with the sharp
image itself (not with what is to be added, as ``minidl.models.vdsr`` does).

What surrounds the image matters: these weights were trained on valid convolutions, and met no
padding. The authors test them with each layer's edge pixels repeated; zeros around the image
instead cost 2.8 dB, as the frame's wrong pixels reach inwards.

Source: Dong, Loy, He & Tang 2014, "Learning a deep convolutional network for image
super-resolution", and 2016, "Image super-resolution using deep convolutional networks". What they
leave open is as in the authors' Caffe and MATLAB files: initial weights N(0, 0.001), rates
(``parameter_groups``), padding.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError, message
from minidl.nn import init

KINDS = {"9-1-5": (9, 1, 5), "9-3-5": (9, 3, 5), "9-5-5": (9, 5, 5)}
"""Windows of the three layers, by the network's kind."""

PADDINGS = ("replicate", "valid", "zeros")


class SRCNN(nn.Module):
    """SRCNN, the network of the papers.

    (N, 1, H, W) -> (N, 1, H, W), or (N, 1, H - 2 radius, W - 2 radius) with "valid"

    Parameters
    ----------
    kind : {"9-1-5", "9-3-5", "9-5-5"}
        Windows of the three layers.
    padding : {"replicate", "valid", "zeros"}
        ``"replicate"``: edge pixels repeated before every layer, as the authors test.
        ``"valid"``: none, as they train. ``"zeros"``: as most ports do both.

    Attributes
    ----------
    conv1, conv2, conv3 : Conv2d
    radius : int
        Pixels that an output looks at on each side of its own.

    Raises
    ------
    ArgumentError
        If an option is none of these.
    """

    def __init__(self, kind: str = "9-5-5", padding: str = "replicate"):
        super().__init__()
        for name, value, allowed in (("kind", kind, KINDS), ("padding", padding, PADDINGS)):
            if value not in allowed:
                raise ArgumentError(
                    message(
                        f"SRCNN: unknown {name} {value!r}", hint=f"choose one of {tuple(allowed)}."
                    )
                )
        self.kind, self.padding = kind, padding
        sizes = KINDS[kind]
        self.radius = sum(size // 2 for size in sizes)
        self.conv1 = _convolution(1, 64, sizes[0], padding)
        self.conv2 = _convolution(64, 32, sizes[1], padding)
        self.conv3 = _convolution(32, 1, sizes[2], padding)

    def forward(self, x: Any) -> Tensor:
        """The sharp image."""
        return self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))


def _convolution(channels: int, width: int, size: int, padding: str) -> nn.Conv2d:
    layer = nn.Conv2d(
        channels, width, size,
        padding="valid" if padding == "valid" else "same",
        padding_mode="replicate" if padding == "replicate" else "zeros",
    )
    init.normal_(layer.weight, 0, 0.001)
    if layer.bias is not None:
        init.zeros_(layer.bias)
    return layer


def parameter_groups(model: SRCNN, lr: float = 1e-4) -> list[dict[str, Any]]:
    """The authors' rates, for an optimiser: a tenth of ``lr`` for all biases and for conv3.

    With SGD(parameter_groups(model), momentum=0.9) and ``minidl.tasks.restoration.euclidean_loss``,
    this is how they trained.
    """
    slow = [model.conv1.bias, model.conv2.bias, model.conv3.weight, model.conv3.bias]
    return [
        {"params": [model.conv1.weight, model.conv2.weight], "lr": lr},
        {"params": slow, "lr": lr / 10},
    ]
