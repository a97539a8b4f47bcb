"""A VGG that is only looked at: frozen, with pictures as its weights want them.

    features = load_features("vgg19-dcbb9e9d.pth")      # torchvision's, or Caffe's converted
    features = random_features(seed=0)                  # none at hand

Which network a file holds, and how its weights want pictures, is told by what is in it:
``minidl.tasks.weight_files``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

import minidl.functional as F
from minidl import Tensor, no_grad, random
from minidl.compute.arrays import to_device, xp_of
from minidl.errors import ArgumentError, CheckpointError, ShapeError, message
from minidl.files.whole import Pathlike
from minidl.models.vgg import NORMALISATIONS, STAGES_16, STAGES_19, VGG, denormalise, normalise
from minidl.nn import init
from minidl.tasks.weight_files import NETWORKS, misfits, recognise

STAGES = {"vgg16": STAGES_16, "vgg19": STAGES_19}
"""Numbers of convolutions in the stages of each network."""


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

    @property
    def deviation(self) -> float:
        """The units of a prepared picture in one standard deviation of ImageNet's pixels.

        About 57.6 for Caffe's bytes; 1 for torchvision's, which are divided by it.
        """
        how, std = NORMALISATIONS[self.normalisation], NORMALISATIONS["torchvision"].std
        return sum(how.scale * std[c] / how.std[k] for k, c in enumerate(how.order)) / 3

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
        .pth or .safetensors. A SHA-256 prefix in its name is verified. Or the name of a known
        file, "vgg16", "vgg16_caffe" or "vgg19", once it has been fetched.
    pooling : {"max", "average"}
    normalisation : str, optional
        One of ``NORMALISATIONS``. Default: told by the file; the attribute of this name of what is
        returned says which. Caffe's weights turned to RGB are turned back.

    Raises
    ------
    CheckpointError
        If it cannot be read, or is none of these networks; the message says what it holds. If
        nothing tells how its weights want pictures, and it is not said.
    """
    held = recognise(path)
    name, _ = NETWORKS[held.network]
    if held.network not in STAGES:
        raise _foreign(held.path, f"it holds {name}")
    wrong = misfits(held, "features.")
    if wrong:
        raise _foreign(held.path, f"it holds {name}, but", *wrong[:4])
    if not (normalisation or held.normalisation):
        raise CheckpointError(
            message(
                f"how the weights of {os.fspath(held.path)!r} want pictures is not known",
                f"it holds {name}, and conv1_1 is none of torchvision's or Caffe's",
                hint="pass normalisation='torchvision' if they were learned from, or tuned from, "
                "torchvision's weights, 'caffe' if from Caffe's (--normalisation, for a command).",
            )
        )
    vgg = _network(held.network, pooling, width=len(held.arrays["features.0.weight"]))
    vgg.features.load_state_dict(
        {name.removeprefix("features."): array for name, array in held.arrays.items()
         if name.startswith("features.")}
    )
    if held.turned:
        first: Any = next(iter(vgg.features))
        first.weight.data[...] = first.weight.data[:, ::-1].copy()
    vgg.pretrained = True
    return Features(vgg, normalisation or held.normalisation)


def normalise_activations(features: Features, pictures: Iterable[Any]) -> Features:
    """Scale each filter so that its mean activation, over positions and pictures, is 1; in place.

    A ReLU keeps factors: what one layer is divided by, the next layer's weights are multiplied by,
    and the network's function stays the same but for these factors. Filters that never fire are
    left alone. It is for poolings and networks without batch norm. A few pictures are not enough:
    a filter that they hardly show is divided by next to nothing, and counts more than all others.

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
