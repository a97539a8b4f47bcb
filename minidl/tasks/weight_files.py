"""Which network a weight file holds, and how it wants pictures: told by what is in it.

The network is told by the names of the arrays, of which there are two kinds:

    features.0.weight, features.2.weight, ...    torchvision's
    conv1_1.weight, conv1_2.weight, ...          vgg_conv.pth of Gatys et al., converted from Caffe

How pictures must be, ``minidl.models.vgg.NORMALISATIONS``, is not told by the size of the numbers:
torchvision's VGG-16 and Caffe's both begin with filters of about 0.2 to 0.4, and the wrong one
gives poor pictures, not errors. It is told, in this order, by

1. the SHA-256 in the file's name, verified, of a file that is known;
2. the first numbers of conv1_1, of the four networks that were published, whatever the file is
   called and in half precision, too;
3. Caffe's names, which nobody else uses;

and else not at all: of weights that were tuned further, or learned elsewhere, one has to say it.

Sources: Caffe's numbers as Keras has them; torchvision's as its users have printed them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Set
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl import nn
from minidl.errors import CheckpointError, message
from minidl.files.known_weights import KNOWN, find, verify
from minidl.files.pretrained import weights_by_name
from minidl.files.whole import Pathlike
from minidl.models.resnet import BLOCKS_18, BLOCKS_34, ResNet
from minidl.models.vgg import STAGES_16, STAGES_19, VGG

Builder = Callable[[int, int, int], nn.Module]
"""A function of width, hidden units and classes."""


def _vgg(stages: tuple[int, ...], batch_norm: bool = False) -> Builder:
    return lambda width, hidden, classes: VGG(stages, batch_norm, classes, width, hidden)


def _resnet(blocks: tuple[int, ...]) -> Builder:
    return lambda width, hidden, classes: ResNet(blocks, classes, width)


NETWORKS: dict[str, tuple[str, Builder]] = {
    "vgg16": ("VGG-16", _vgg(STAGES_16)),
    "vgg19": ("VGG-19", _vgg(STAGES_19)),
    "vgg16_bn": ("VGG-16 with batch norm", _vgg(STAGES_16, True)),
    "vgg19_bn": ("VGG-19 with batch norm", _vgg(STAGES_19, True)),
    "resnet18": ("ResNet-18", _resnet(BLOCKS_18)),
    "resnet34": ("ResNet-34", _resnet(BLOCKS_34)),
}
"""The networks whose files are known: what they are called, and what builds them."""

FILES = {
    **{known.file: ("torchvision", False) for known in KNOWN.values()},
    KNOWN["vgg16_caffe"].file: ("caffe", True),
    "vgg16-00b39a1b.pth": ("caffe", False),
    "vgg19-d01eb7cb.pth": ("caffe", False),
}
"""How published files want pictures, and whether they do so in RGB for BGR; the last two are
Johnson's conversions of Caffe's."""


class First(NamedTuple):
    """The first numbers of a published network."""

    whose: str
    normalisation: str
    weights: tuple[float, ...]
    """The first row of conv1_1's first filter, as far as it is known."""
    biases: tuple[float, ...]
    """The first biases of conv1_1, as far as they are known."""


FIRST = (
    First("Caffe's VGG-16", "caffe", (0.429471, 0.373467, -0.061360),
          (0.734298, 0.093404, 0.067757, 0.886297)),
    First("Caffe's VGG-19", "caffe", (0.341195,), (0.730178, 0.064936, 0.034288, 0.826039)),
    First("torchvision's VGG-16", "torchvision", (), (0.4034, 0.3778, 0.4644, -0.3228)),
    First("torchvision's VGG-19", "torchvision", (-0.053474, -0.049257, -0.067942), ()),
)
"""The networks that are known by their first numbers, whatever their file is called."""

_NEAR = 1e-3  # half precision, and four printed digits


class Held(NamedTuple):
    """What a weight file holds."""

    path: Path
    network: str
    """A key of ``NETWORKS``."""
    whole: bool
    """Whether its classifier is there, too."""
    arrays: dict[str, Any]
    """The arrays by torchvision's names; a VGG's convolutions alone if it is not whole."""
    left_out: tuple[str, ...]
    """Names in the file that are none of this network's."""
    normalisation: str
    """How it wants pictures, a key of ``NORMALISATIONS``; "" if nothing tells."""
    turned: bool
    """Whether its filters are Caffe's in RGB; they want pictures of ``normalisation`` in RGB."""
    evidence: str
    """What the normalisation was told by."""


def recognise(path: Pathlike) -> Held:
    """Tell which network a file holds, and how it wants pictures.

    Parameters
    ----------
    path : str or path
        .pth or .safetensors, or the name of a known file.

    Raises
    ------
    CheckpointError
        If it is not there, cannot be read, is not what its name says, or holds nothing that is
        known; the message says what was found, and what is known.
    """
    path = find(path)
    named = Path(path).name if verify(path) else ""
    found = weights_by_name(path)
    caffes = "conv1_1.weight" in found
    arrays = _by_torchvisions_names(found) if caffes else found
    told = _pictures(named, arrays, caffes)
    fitting = [
        Held(Path(path), network, whole, mine, others, *told)
        for network in NETWORKS
        for whole, mine, others in _as(network, arrays)
    ]
    if not fitting:
        raise _unknown(path, found, arrays)
    return min(fitting, key=lambda held: len(held.left_out))  # ResNet-18's are in ResNet-34, too


def _as(
    network: str, arrays: Mapping[str, Any]
) -> Iterator[tuple[bool, dict[str, Any], tuple[str, ...]]]:
    """Take a file for this network's, if it has all the names: whole, its arrays, the others."""
    wanted = names_of(network)
    features = frozenset(name for name in wanted if name.startswith("features."))
    whole = wanted <= set(arrays) and not _blank(arrays)
    if features and not whole:
        wanted = features
    mine = {name: value for name, value in arrays.items() if name in wanted}
    others = tuple(n for n in arrays if n not in mine and not n.endswith("num_batches_tracked"))
    if set(mine) == wanted and not any(name.startswith("features.") for name in others):
        yield whole, mine, others


def misfits(held: Held, part: str = "") -> list[str]:
    """Compare a file's arrays with those of its network, whose sizes its first arrays tell.

    Parameters
    ----------
    held : Held
    part : str
        The beginning of the names that are looked at, such as "features.".

    Returns
    -------
    list of str
        A line for each array of another shape, of integers, or with NaN or infinity in it.
    """
    arrays = held.arrays

    def size(*names: str) -> int:
        return next((len(arrays[n]) for n in names if n in arrays and arrays[n].ndim), 1)

    wanted = shapes_of(
        held.network, size("features.0.weight", "conv1.weight"), size("classifier.0.weight"),
        size("classifier.6.weight", "fc.weight"),
    )
    found = []
    for name, array in arrays.items():
        if not name.startswith(part):
            continue
        if array.shape != wanted[name]:
            found.append(f"{name} is {array.shape}, should be {wanted[name]}")
        elif array.dtype.kind != "f":
            found.append(f"{name} holds {array.dtype}, not floats")
        elif not np.isfinite(array).all():
            found.append(f"{name} holds numbers that are not finite")
    return found


def names_of(network: str) -> frozenset[str]:
    """The names of a network's arrays, without counters of batches."""
    return frozenset(_tiny_shapes(network, 1, 1, 1))


def shapes_of(
    network: str, width: int = 64, hidden: int = 4096, classes: int = 1000
) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's arrays, by name; it is not built, whatever the sizes are.

    Every axis is linear in them, so that tiny networks tell how it grows.
    """
    grown = {}
    bigger = [(2, 1, 1), (1, 2, 1), (1, 1, 2)]
    others = [_tiny_shapes(network, *sizes) for sizes in bigger]
    for name, shape in _tiny_shapes(network, 1, 1, 1).items():
        steps = zip((width, hidden, classes), (other[name] for other in others), strict=True)
        grown[name] = tuple(
            (np.array(shape) + sum((n - 1) * (np.array(other) - shape) for n, other in steps))
            .astype(int).tolist()
        )
    return grown


@cache
def _tiny_shapes(network: str, *sizes: int) -> dict[str, tuple[int, ...]]:
    _, build = NETWORKS[network]
    state = build(*sizes).state_dict()
    return {name: array.shape for name, array in state.items()
            if not name.endswith("num_batches_tracked")}


# --- whose the weights are ---


def _pictures(named: str, arrays: Mapping[str, Any], caffes: bool) -> tuple[str, bool, str]:
    """How pictures must be, whether the filters are turned to RGB, and what tells it."""
    if named in FILES:
        return *FILES[named], "the SHA-256 in its name"
    if "features.0.weight" in arrays and "features.0.bias" in arrays:
        weight, bias = arrays["features.0.weight"], arrays["features.0.bias"]
        for first in FIRST:
            if not _near(bias, first.biases):
                continue
            for turned in (False, True) if first.normalisation == "caffe" else (False,):
                row = weight[0, 2 if turned else 0, 0] if weight.ndim == 4 else bias
                if _near(row, first.weights):
                    evidence = f"the first numbers of conv1_1, which are {first.whose}"
                    return first.normalisation, turned, evidence
    if caffes:
        return "caffe", False, "the names of its layers, which are Caffe's"
    return "", False, "nothing in it"


def _blank(arrays: Mapping[str, Any]) -> bool:
    """Whether a classifier is there in name only: torchvision fills vgg16_caffe's with NaN."""
    weight = arrays.get("classifier.0.weight")
    return weight is not None and weight.size > 0 and bool(np.isnan(weight.flat[0]))


def _near(array: Any, known: tuple[float, ...]) -> bool:
    """Whether an array begins with these numbers."""
    start = array.ravel()[: len(known)]
    return len(start) == len(known) and np.allclose(start, known, atol=_NEAR)


def _by_torchvisions_names(found: Mapping[str, Any]) -> dict[str, Any]:
    """Rename conv1_1.weight to features.0.weight, and so on; other names stay."""
    vgg = VGG(STAGES_19 if "conv3_4.weight" in found else STAGES_16, False, 1, 1, 1)
    numbers = {layer: i for i, layer in enumerate(vgg.layer_names) if layer.startswith("conv")}
    renamed = {}
    for name, value in found.items():
        layer, _, part = name.partition(".")
        renamed[f"features.{numbers[layer]}.{part}" if layer in numbers else name] = value
    return renamed


# --- what is not known ---


def _unknown(
    path: Pathlike, found: Mapping[str, Any], arrays: Mapping[str, Any]
) -> CheckpointError:
    names = ", ".join(f"{name!a} {tuple(a.shape)}" for name, a in list(found.items())[:3])
    more = ", ..." if len(found) > 3 else ""
    facts = [f"it holds {len(found)} arrays: {names}{more}"]
    near = max(NETWORKS, key=lambda network: _likeness(_wanted(network, arrays), arrays))
    wanted = _wanted(near, arrays)
    if _likeness(wanted, arrays) > 0.5:
        facts.append(f"most like {NETWORKS[near][0]}; missing: {_some(wanted - set(arrays))}; "
                     f"not of that network: {_some(set(arrays) - wanted)}")
    else:
        facts += [f"they have the shapes of {title}'s convolutions, under other names"
                  for title in _same_shapes(found)]
    return CheckpointError(
        message(
            f"cannot tell which network {os.fspath(path)!r} holds",
            *facts,
            hint=f"known are {', '.join(title for title, _ in NETWORKS.values())}, whole or, of a "
            "VGG, its convolutions, by torchvision's names (features.0.weight) or Caffe's "
            "(conv1_1.weight).",
        )
    )


def _wanted(network: str, arrays: Mapping[str, Any]) -> frozenset[str]:
    """The names that a file should have: of a VGG without a classifier, its convolutions'."""
    names = names_of(network)
    if any(name.startswith("classifier.") for name in arrays):
        return names
    return frozenset(name for name in names if not name.startswith("classifier."))


def _likeness(wanted: frozenset[str], arrays: Mapping[str, Any]) -> float:
    return len(wanted & set(arrays)) / len(wanted | set(arrays))


def _some(names: Set[str]) -> str:
    shown = ", ".join(f"{name!a}" for name in sorted(names)[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown or "none"


def _same_shapes(found: Mapping[str, Any]) -> list[str]:
    """The VGGs whose convolutions have these shapes, in whatever order."""
    kernels = sorted(a.shape for a in found.values() if a.ndim == 4)
    width = next((shape[0] for shape in kernels if shape[1] == 3), 0)
    return [
        NETWORKS[network][0] for network in ("vgg16", "vgg19")
        if width and kernels == sorted(s for s in shapes_of(network, width).values() if len(s) == 4)
    ]
