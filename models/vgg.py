"""VGG-16 and VGG-19: nothing but 3x3 convolutions, twice as many channels at half the size.

    x (N, 3, H, W) -> scores of classes (N, 1000)

    stage  channels  convolutions in 16 / 19   size at 224x224   stride
    1      64        2 / 2                     224 -> 112        2
    2      128       2 / 2                     112 -> 56         4
    3      256       3 / 4                     56 -> 28          8
    4      512       3 / 4                     28 -> 14          16
    5      512       3 / 4                     14 -> 7           32
    then   means over a 7x7 grid, fc6 4096, fc7 4096, fc8 1000

    parameters       VGG-16          VGG-19
    features         14,714,688      20,024,384
    fc6, fc7, fc8    102,764,544  +  16,781,312  +  4,097,000
    total            138,357,544     143,667,240
    with batch norm  138,365,992     143,678,248

Each convolution is followed by a ReLU (with ``batch_norm``, by batch norm and a
ReLU), each stage ends with a 2x2 pooling of stride 2. Layers have the paper's names,
``conv4_2``, ``bn4_2``, ``relu4_2``, ``pool4``, ``fc6``, and ``taps`` returns any of
them. Parameters have torchvision's, ``features.N`` and ``classifier.N``, so that its
weight files load: see ``minidl.files.pretrained``. Without, weights are random, and
``model.pretrained`` is False.

Where the paper's code and torchvision differ, torchvision's way is the default:

    option                      torchvision                    Caffe, 2014
    ceil_mode                   False                          True
    normalise(x, ...)           "torchvision"                  "caffe"
    first stage of classifier   means over a 7x7 grid          7x7 as it is: 224x224 only

Source: Simonyan & Zisserman 2015, "Very deep convolutional networks for large-scale
image recognition", table 1, columns D and E; torchvision 0.19, ``models/vgg.py``
(names, initial values, counts). Caffe's rounding and means are from memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError, message
from minidl.nn import init
from minidl.nn.taps import tap

STAGES_16 = (2, 2, 3, 3, 3)
STAGES_19 = (2, 2, 4, 4, 4)
"""Convolutions in each stage of VGG-16 and of VGG-19."""

POOLINGS: dict[str, Callable[..., nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


class FullyConnected(nn.Linear):
    """A Linear whose weights start from N(0, 0.01), and biases from 0."""

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.normal_(self.weight, 0, 0.01)
        if self.bias is not None:
            init.zeros_(self.bias)


class VGG(nn.Module):
    """A VGG network.

    Parameters
    ----------
    stages : sequence of int
        Convolutions in each stage.
    batch_norm : bool
        Whether batch norm follows each convolution (not in the paper).
    num_classes : int
    width : int
        Channels of the first stage; the others have 2, 4, 8 and 8 times as many.
    hidden : int
        Units of fc6 and fc7.
    pooling : {"max", "average"}
        ``"average"`` for smoother gradients with respect to images.
    ceil_mode : bool
        Keep a last, incomplete window in poolings, as Caffe does.
    dropout : float
        Probability of dropping a unit of fc6 and of fc7.

    Attributes
    ----------
    pretrained : bool
        Whether weights were loaded; False as long as they are random.
    layer_names : tuple of str
        Names of the layers that can be tapped, in order.

    Raises
    ------
    ArgumentError
        If the pooling is neither of these.
    """

    def __init__(
        self,
        stages: Sequence[int] = STAGES_16,
        batch_norm: bool = False,
        num_classes: int = 1000,
        width: int = 64,
        hidden: int = 4096,
        pooling: str = "max",
        ceil_mode: bool = False,
        dropout: float = 0.5,
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise ArgumentError(
                message(
                    f"VGG: unknown pooling {pooling!r}", hint=f"choose one of {tuple(POOLINGS)}."
                )
            )
        self.pretrained = False
        channels = [width * min(2**i, 8) for i in range(len(stages))]
        layers: dict[str, nn.Module] = {}
        inputs = 3
        for stage, (count, outputs) in enumerate(zip(stages, channels, strict=True), start=1):
            for i in range(1, count + 1):
                layers[f"conv{stage}_{i}"] = _convolution(inputs, outputs)
                if batch_norm:
                    layers[f"bn{stage}_{i}"] = nn.BatchNorm2d(outputs)
                layers[f"relu{stage}_{i}"] = nn.ReLU()
                inputs = outputs
            layers[f"pool{stage}"] = POOLINGS[pooling](2, 2, ceil_mode=ceil_mode)
        classifier: dict[str, nn.Module] = {
            "fc6": FullyConnected(inputs * 7 * 7, hidden),
            "relu6": nn.ReLU(),
            "drop6": nn.Dropout(dropout),
            "fc7": FullyConnected(hidden, hidden),
            "relu7": nn.ReLU(),
            "drop7": nn.Dropout(dropout),
            "fc8": FullyConnected(hidden, num_classes),
        }
        self.features = nn.Sequential(*layers.values())
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(*classifier.values())
        self.layer_names = (*layers, "avgpool", "flatten", *classifier)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, (N, 3, H, W) -> (N, num_classes)."""
        return self.classifier(F.flatten(self.avgpool(self.features(x)), 1))

    def taps(self, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """What the named layers put out, in one pass that goes no further than it must.

        Parameters
        ----------
        x : Tensor, shape (N, 3, H, W)
        names : iterable of str
            Some of ``layer_names``, for example ``["relu1_2", "conv4_2"]``.

        Raises
        ------
        ArgumentError
            If there is no such layer.
        """
        layers = dict(zip(self.layer_names, self._layers(), strict=True))
        return tap("VGG", layers, x, names)

    def _layers(self) -> Iterator[nn.Module]:
        yield from self.features
        yield from (self.avgpool, nn.Flatten())
        yield from self.classifier

    def extra_repr(self) -> str:
        return f"pretrained={self.pretrained}"


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    assert layer.bias is not None
    init.zeros_(layer.bias)
    return layer


def vgg16(batch_norm: bool = False, **options: Any) -> VGG:
    """VGG-16, column D; ``options`` are those of VGG."""
    return VGG(STAGES_16, batch_norm, **options)


def vgg19(batch_norm: bool = False, **options: Any) -> VGG:
    """VGG-19, column E; ``options`` are those of VGG."""
    return VGG(STAGES_19, batch_norm, **options)


# --- what images must look like ---


class Normalisation(NamedTuple):
    """How pixels are normalised: (pixel * scale - mean) / std, in each channel."""

    order: tuple[int, int, int]
    """Numbers of the channels of an RGB image that come first, second and third."""
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


RGB, BGR = (0, 1, 2), (2, 1, 0)
"""Orders of the channels of an RGB image."""

NORMALISATIONS = {
    "torchvision": Normalisation(RGB, 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": Normalisation(BGR, 255, (103.939, 116.779, 123.68), (1, 1, 1)),
    "ilsvrc": Normalisation(BGR, 255, (104.00699, 116.66877, 122.67892), (1, 1, 1)),
}
"""Normalisations by kind: torchvision's for all its models; Oxford's for the Caffe weights (from
memory); that of FCN and DeconvNet, which also start from the Caffe weights."""


def normalise(x: Tensor, kind: str = "torchvision") -> Tensor:
    """Normalise images as a network's weights expect them, (N, 3, H, W) -> (N, 3, H, W).

    Parameters
    ----------
    x : Tensor
        RGB, pixels in [0, 1].
    kind : {"torchvision", "caffe", "ilsvrc"}
        Whose weights; see ``NORMALISATIONS``.

    Raises
    ------
    ArgumentError
        If the kind is unknown, or x does not have three channels.
    """
    if kind not in NORMALISATIONS or x.ndim != 4 or x.shape[1] != 3:
        raise ArgumentError(
            message(
                "normalise: images must be (N, 3, H, W), and the kind a known one",
                f"x has shape {x.shape}, kind = {kind!r}",
                hint=f"the kinds are {tuple(NORMALISATIONS)}.",
            )
        )
    how = NORMALISATIONS[kind]
    channels = [
        (x[:, c] * how.scale - mean) / std
        for c, mean, std in zip(how.order, how.mean, how.std, strict=True)
    ]
    return F.stack(channels, 1)


def denormalise(z: Tensor, kind: str = "torchvision") -> Tensor:
    """Undo ``normalise``, (N, 3, H, W) -> (N, 3, H, W).

    >>> import minidl
    >>> x = minidl.full((1, 3, 1, 1), 0.25)
    >>> denormalise(normalise(x, "caffe"), "caffe").numpy().ravel().tolist()
    [0.25, 0.25, 0.25]
    """
    how = NORMALISATIONS[kind]
    channels = [(z[:, k] * how.std[k] + how.mean[k]) * (1 / how.scale) for k in range(3)]
    return F.stack([channels[how.order.index(c)] for c in range(3)], 1)
