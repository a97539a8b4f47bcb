"""A VGG that is only looked at: frozen, with pictures as its weights want them.

    features = load_features("vgg19-dcbb9e9d.pth")      # torchvision's, or Caffe's converted
    features = random_features(seed=0)                  # none at hand

Files of weights name their layers in one of two ways:

    features.0.weight, features.2.weight, ...    torchvision's names
    conv1_1.weight, conv1_2.weight, ...          vgg_conv.pth of Gatys et al., converted from Caffe

The second want BGR bytes minus means, and so do files of the first kind that were converted from
Caffe. The wrong one gives poor pictures, not errors, and sizes of weights do not tell: both kinds
begin with filters of about 0.2 to 0.4. But what was learned there is known. The two networks that
their authors published are recognised by the first numbers of conv1_1, whatever the file is called;
weights that are tuned further, or scaled, are not, and need ``normalisation``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import minidl.functional as F
from minidl import Tensor, no_grad, random
from minidl.compute.arrays import is_array, to_device, xp_of
from minidl.errors import ArgumentError, CheckpointError, ShapeError, message
from minidl.files.pretrained import verify
from minidl.files.serialize import load
from minidl.files.whole import Pathlike
from minidl.models.vgg import NORMALISATIONS, STAGES_16, STAGES_19, VGG, denormalise, normalise
from minidl.nn import init

STAGES = {"vgg16": STAGES_16, "vgg19": STAGES_19}
"""Numbers of convolutions in the stages of each network."""

CAFFE_FILES = ("vgg16-00b39a1b", "vgg19-d01eb7cb")
"""Beginnings of the names of files with torchvision's layer names and Caffe's weights (Johnson's
conversions)."""


CAFFE_FIRST = (
    (0.429471, (0.734298, 0.093404, 0.067757, 0.886297)),  # VGG-16
    (0.341195, (0.730178, 0.064936, 0.034288, 0.826039)),  # VGG-19
)
"""Caffe's conv1_1: the first filter's first weight, for blue, and the first four biases."""


class Features:
    """A network's layers as functions of a picture.

    Parameters
    ----------
    vgg : VGG
        Frozen, and put into evaluation mode.
    normalisation : str
        One of ``minidl.models.vgg.NORMALISATIONS``: how the weights want pictures.
    """

    def __init__(self, vgg: VGG, normalisation: str = "torchvision"):
        if normalisation not in NORMALISATIONS:
            raise ArgumentError(
                message(
                    f"Features: unknown normalisation {normalisation!r}",
                    hint=f"choose one of {tuple(NORMALISATIONS)}.",
                )
            )
        self.vgg, self.normalisation = vgg.eval().requires_grad_(False), normalisation

    @property
    def pretrained(self) -> bool:
        """True if the weights were learned, and loaded from a file."""
        return self.vgg.pretrained

    @property
    def device(self) -> str:
        """The device of the weights, where pictures must be, too."""
        return next(iter(self.vgg.parameters())).device

    def to(self, device: str) -> Features:
        """Move to a device, in place."""
        self.vgg.to(device)
        return self

    def prepare(self, picture: Any) -> Tensor:
        """Normalise RGB pictures from 0 to 1, (N, 3, H, W), as the weights want them."""
        return normalise(F.as_tensor(picture), self.normalisation)

    def picture(self, z: Any) -> Tensor:
        """Undo ``prepare``: RGB pictures, not clipped to 0 .. 1."""
        return denormalise(z, self.normalisation)

    def __call__(self, z: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Compute these layers of prepared pictures, by name.

        Raises
        ------
        ArgumentError
            If there is no such layer.
        ShapeError
            If the pictures are too small for one.
        """
        names = list(names)
        self.check(names, z.shape)
        return self.vgg.taps(z, names)

    def check(self, names: Iterable[str], shape: tuple[int, ...]) -> None:
        """Raise what calling would raise for pictures of this shape, before computing anything."""
        names = list(names)
        known = self.vgg.layer_names[: self.vgg.layer_names.index("avgpool")]
        unknown = [n for n in names if n not in known]
        if unknown:
            raise ArgumentError(
                message(
                    f"VGG has no layer {unknown[0]!r} of an image's size",
                    hint=f"there are {', '.join(known)}.",
                )
            )
        least = 2 ** max((_halvings(n) for n in names), default=0)
        if len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < least:
            raise ShapeError(
                message(
                    "pictures must be (N, 3, H, W), and large enough for the deepest layer",
                    f"received shape {tuple(shape)}",
                    hint=f"H and W must be at least {least} for {', '.join(names)}.",
                )
            )


def random_features(
    network: str = "vgg19", pooling: str = "average", seed: int = 0, width: int = 64
) -> Features:
    """A VGG that has learned nothing: weights N(0, 2 / fan-in), biases 0.

    Its features are those of random filters. With a "relative" loss they suffice for colours,
    strokes and small patterns of a style, and for the content at a low layer; a trained network's
    higher layers know what things look like, which these do not. Random numbers elsewhere are not
    disturbed.

    Parameters
    ----------
    network : {"vgg16", "vgg19"}
    pooling : {"average", "max"}
        Max pooling of random filters turns into noise.
    seed : int
    width : int
        Channels of the first stage; fewer are faster and coarser.

    Notes
    -----
    Source: He, Wang & Hopcroft 2016, "A powerful generative model using random weights for the
    deep image representation"; the weights' variance is that of He et al. 2015.
    """
    before = random.get_state()
    try:
        random.manual_seed(seed)
        vgg = _network(network, pooling, width)
        for name, parameter in vgg.features.named_parameters():
            if name.endswith("weight"):
                init.kaiming_normal_(parameter, nonlinearity="relu")
    finally:
        random.set_state(before)
    return Features(vgg)


def load_features(
    path: Pathlike, pooling: str = "max", normalisation: str | None = None
) -> Features:
    """Load the convolutions of VGG-16 or VGG-19, whichever a weight file holds.

    Parameters
    ----------
    path : str or path
        .pth or .safetensors. A SHA-256 prefix in its name is verified.
    pooling : {"max", "average"}
    normalisation : str, optional
        One of ``NORMALISATIONS``. Default: told by the file, as above; the attribute of this name
        of what is returned says which. Caffe's weights turned to RGB are turned back.

    Raises
    ------
    CheckpointError
        If it cannot be read, or is none of these networks; the message says what it holds.
    """
    verify(path)
    held = load(path)
    if not isinstance(held, Mapping) or not all(is_array(v) for v in held.values()):
        raise _foreign(path, f"it holds a {type(held).__name__}, not arrays by name")
    caffe = "conv1_1.weight" in held
    for network in STAGES:
        vgg = _network(network, pooling, width=_width(held))
        names = {name: _source(vgg, name, caffe) for name, _ in vgg.features.named_parameters()}
        convolutions = [n for n in held if re.match(r"conv\d" if caffe else r"features\.", n)]
        if set(names.values()) == set(convolutions):
            try:
                vgg.features.load_state_dict({name: held[src] for name, src in names.items()})
            except CheckpointError as cause:
                raise _foreign(path, *str(cause).splitlines()[1:4]) from None
            vgg.pretrained = True
            told = caffe or Path(path).name.startswith(CAFFE_FILES) or _is_caffes(vgg)
            return Features(vgg, normalisation or ("caffe" if told else "torchvision"))
    raise _foreign(path, f"it holds {len(held)} arrays: {', '.join(list(held)[:4])}, ...")


def normalise_activations(features: Features, pictures: Iterable[Any]) -> Features:
    """Scale each filter so that its mean activation, over positions and pictures, is 1; in place.

    A ReLU keeps factors: what one layer is divided by, the next layer's weights are multiplied by,
    and the network's function stays the same but for these factors. Filters that never fire are
    left alone. It is for poolings and networks without batch norm.

    Parameters
    ----------
    pictures : iterable of arrays, (3, H, W), RGB from 0 to 1

    Notes
    -----
    Source: Gatys, Ecker & Bethge 2016, section 2 (over ImageNet's validation set).
    """
    vgg, names = features.vgg, features.vgg.layer_names
    if any(name.startswith("bn") for name in names):
        raise ArgumentError("normalise_activations: the network must have no batch norm")
    relus = [n for n in names if re.fullmatch(r"relu\d_\d", n)]
    totals: dict[str, Any] = {}
    count = 0
    with no_grad():
        for picture in pictures:
            z = features.prepare(Tensor(to_device(np.asarray(picture)[None], features.device)))
            count += 1
            for name, y in features(z, relus).items():
                totals[name] = totals.get(name, 0) + F.mean(y, (0, 2, 3)).data
    if not count:
        raise ArgumentError("normalise_activations: give one picture or more")
    layers = dict(zip(names, vgg.features, strict=False))
    before: Any = None
    for name in relus:
        layer: Any = layers[name.replace("relu", "conv")]
        mean = totals[name] / count
        scale = xp_of(mean).where(mean > 1e-8, mean, 1)
        if before is not None:
            layer.weight.data *= before[None, :, None, None]
        layer.weight.data /= scale[:, None, None, None]
        layer.bias.data /= scale
        before = scale
    return features


def _network(network: str, pooling: str, width: int) -> VGG:
    """Build a VGG for its convolutions alone: the classifier gets one unit."""
    if network not in STAGES:
        raise ArgumentError(
            message(f"there is no network {network!r}", hint=f"choose one of {tuple(STAGES)}.")
        )
    return VGG(STAGES[network], num_classes=1, width=width, hidden=1, pooling=pooling)


def _source(vgg: VGG, name: str, caffe: bool) -> str:
    """The name in the file of a parameter of ``vgg.features``."""
    number, part = name.split(".")
    return f"{vgg.layer_names[int(number)]}.{part}" if caffe else f"features.{name}"


def _is_caffes(vgg: VGG) -> bool:
    """Whether conv1_1 is that of the published Caffe networks; if it is for RGB, turn it to BGR."""
    first: Any = next(iter(vgg.features))
    for corner, biases in CAFFE_FIRST:
        if len(first.bias.data) >= 4 and np.allclose(first.bias.data[:4], biases, atol=1e-3):
            if np.isclose(first.weight.data[0, 2, 0, 0], corner, atol=1e-3):
                first.weight.data[...] = first.weight.data[:, ::-1].copy()
            return True
    return False


def _width(held: Mapping[str, Any]) -> int:
    first = held.get("conv1_1.weight", held.get("features.0.weight"))
    return len(first) if first is not None and first.ndim == 4 else 64


def _halvings(name: str) -> int:
    """The number of poolings down to a layer, itself included."""
    stage = int(re.sub(r"^[a-z]+", "", name).split("_")[0])
    return stage if name.startswith("pool") else stage - 1


def _foreign(path: Pathlike, *facts: str) -> CheckpointError:
    return CheckpointError(
        message(
            f"cannot take VGG's layers from {os.fspath(path)!r}",
            *(fact.strip() for fact in facts),
            hint="it must be VGG-16 or VGG-19 without batch norm, as vgg19-dcbb9e9d.pth is.",
        )
    )
