"""ResNet-18 and ResNet-34: blocks that add what they compute to what they were given.

    y = relu(x + F(x)),   F = conv3x3, batch norm, relu, conv3x3, batch norm

A block that has nothing to add can leave x alone, so depth costs nothing to begin
with. Where the size changes, x passes through a 1x1 convolution of stride 2 first.

    layer    channels  blocks in 18 / 34   size at 224x224   stride
    conv1    64        7x7, stride 2       112               2
    maxpool  64        3x3, stride 2       56                4
    layer1   64        2 / 3               56                4
    layer2   128       2 / 4               28                8
    layer3   256       2 / 6               14                16
    layer4   512       2 / 3               7                 32
    then     mean over the image, fc 1000

    parameters   ResNet-18     ResNet-34
    without fc   11,176,512    21,284,672
    total        11,689,512    21,797,672

Parameters have torchvision's names, so that its weight files load: see
``minidl.files.pretrained``; images are normalised as for VGG (``models/vgg.py``). Without,
weights are random, and ``model.pretrained`` is False.

Source: He, Zhang, Ren & Sun 2016, "Deep residual learning for image recognition",
table 1, with shortcuts of kind B; torchvision 0.19, ``models/resnet.py`` (names,
initial values, counts).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import minidl.functional as F
from minidl import Tensor, nn
from minidl.nn import init
from minidl.nn.taps import tap

BLOCKS_18 = (2, 2, 2, 2)
BLOCKS_34 = (3, 4, 6, 3)
"""Blocks in each of the four layers of ResNet-18 and of ResNet-34."""


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut: (N, C, H, W) -> (N, O, H / stride, W / stride).

    Parameters
    ----------
    inputs, outputs : int
        C and O.
    stride : int
        Stride of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = _convolution(outputs, outputs, 3, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                _convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inner + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A residual network of basic blocks.

    Parameters
    ----------
    blocks : sequence of int
        Blocks in each layer; ``len(blocks)`` layers.
    num_classes : int
    width : int
        Channels of the first layer; each further one has twice as many.
    zero_init_residual : bool
        Start each block as the identity, by a scale of 0 in its last batch norm.

    Attributes
    ----------
    pretrained : bool
        Whether weights were loaded; False as long as they are random.
    layer_names : tuple of str
        Names of the layers that can be tapped, in order; the fully connected layer comes after.
    """

    def __init__(
        self,
        blocks: Sequence[int] = BLOCKS_18,
        num_classes: int = 1000,
        width: int = 64,
        zero_init_residual: bool = False,
    ):
        super().__init__()
        self.pretrained = False
        self.conv1 = _convolution(3, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = width
        for i, count in enumerate(blocks):
            outputs = width * 2**i
            first = BasicBlock(inputs, outputs, stride=1 if i == 0 else 2)
            others = [BasicBlock(outputs, outputs) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(first, *others))
            inputs = outputs
        stages = [f"layer{i + 1}" for i in range(len(blocks))]
        self.layer_names = ("conv1", "bn1", "relu", "maxpool", *stages, "avgpool")
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, num_classes)
        if zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock) and module.bn2.weight is not None:
                    init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, (N, 3, H, W) -> (N, num_classes)."""
        return self.fc(F.flatten(self.taps(x, ["avgpool"])["avgpool"], 1))

    def taps(self, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """What the named layers put out, in one pass that goes no further than it must.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
        names : iterable of str
            Some of ``layer_names``. For a decoder at strides 2 to 32: ``relu``, ``layer1``,
            ``layer2``, ``layer3``, ``layer4``.

        Raises
        ------
        ArgumentError
            If there is no such layer.
        """
        layers = {name: getattr(self, name) for name in self.layer_names}
        return tap("ResNet", layers, x, names)

    def extra_repr(self) -> str:
        return f"pretrained={self.pretrained}"


def resnet18(**options: Any) -> ResNet:
    """ResNet-18; ``options`` are those of ResNet."""
    return ResNet(BLOCKS_18, **options)


def resnet34(**options: Any) -> ResNet:
    """ResNet-34; ``options`` are those of ResNet."""
    return ResNet(BLOCKS_34, **options)
