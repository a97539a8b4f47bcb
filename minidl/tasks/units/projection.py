"""Zeiler and Fergus's projections: what in an image a unit of a VGG has seen.

    images (N, 3, H, W), a layer, a unit -> pixels (N, 3, H, W)

The image goes up, and each max-pool notes where its maxima were (its switches). Of the
layer's output one activation is kept, everything else is set to zero, and this signal goes
back down: a pool is undone by its switches, a convolution by its transpose, with the same
weight and without bias. At a ReLU, whose input was f, there are three rules for the signal R:

    rule         R becomes                  starts from
    "deconvnet"  (R > 0) R                  the activation      Zeiler & Fergus
    "gradient"   (f > 0) R                  1                   d activation / d pixels
    "guided"     (f > 0) (R > 0) R          the activation      Springenberg et al.

Zeiler and Fergus's VGG has no batch norm. Here one behind a convolution is a part of its
filter: in evaluation mode it multiplies a channel by weight / sqrt(running_var + eps), so
the signal is multiplied by the same number; mean and shift are biases, which are not used.

The contrast is not changed on the way down. A ``Projection`` also tells in which box of the
image the unit looks; outside of it, all pixels of a projection are zero.

Sources: Zeiler & Fergus 2014, "Visualizing and understanding convolutional networks", section
2.1; Springenberg et al. 2015, "Striving for simplicity: the all convolutional net", section 3.4.
That biases are not used is from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl import Tensor, nn, no_grad
from minidl.compute.arrays import to_device
from minidl.compute.windows import pair
from minidl.errors import ArgumentError, ShapeError, message
from minidl.models.vgg import VGG
from minidl.nn.modes import modes_kept
from minidl.tensor import as_tensor

RULES = ("deconvnet", "gradient", "guided")


class Projection(NamedTuple):
    """One activation of each image, brought down to its pixels."""

    pixels: Tensor
    """The projections, (N, 3, H, W), on the device of the network."""
    activation: np.ndarray
    """The activations that are projected, (N,)."""
    place: np.ndarray
    """Row and column of the activation in its map, (N, 2)."""
    box: np.ndarray
    """The receptive field, (N, 4): first row and column, and those behind the last."""


class Strongest(NamedTuple):
    """The images that excite each of some units most, the strongest first."""

    image: np.ndarray
    """Numbers of the images, (units, count)."""
    activation: np.ndarray
    """Largest activation in each image, (units, count)."""
    place: np.ndarray
    """Row and column of that activation in its map, (units, count, 2)."""


def project(
    vgg: VGG,
    images: Any,
    layer: str,
    unit: int,
    rule: str = "deconvnet",
    place: Any = None,
) -> Projection:
    """Bring one activation of each image down to the pixels.

    (N, 3, H, W) -> (N, 3, H, W)

    Parameters
    ----------
    vgg : VGG
        Used as in evaluation mode, whatever mode it is in, and left as it was.
    images : Tensor or array, shape (N, 3, H, W)
        As the network expects them, so normalised.
    layer : str
        A layer of ``vgg.features``, such as ``"relu4_2"``.
    unit : int
        The channel C of the layer's output.
    rule : {"deconvnet", "gradient", "guided"}
        What happens to the signal at a ReLU.
    place : (row, column), or array (N, 2), optional
        Which activation of the channel is kept. Default: each image's strongest.

    Raises
    ------
    ArgumentError
        If there is no such layer, unit, rule or place, or if the layer lies behind an average
        pooling, which has no switches.
    ShapeError
        If the images are not (N, 3, H, W).

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.models.vgg import VGG
    >>> from minidl.tasks.units.projection import project
    >>> vgg = VGG((1, 1), width=4, hidden=8, num_classes=5)
    >>> images = np.random.default_rng(0).random((2, 3, 12, 12), np.float32)
    >>> seen = project(vgg, images, "conv2_1", unit=3, place=(1, 4))
    >>> seen.pixels.shape, seen.box[0].tolist()
    ((2, 3, 12, 12), [0, 5, 7, 12])
    """
    if rule not in RULES:
        raise ArgumentError(
            message(f"project: unknown rule {rule!r}", hint=f"choose one of {RULES}.")
        )
    with modes_kept(vgg), no_grad():
        vgg.eval()
        steps, top = _up("project", vgg, _checked("project", vgg, images), layer)
        _check_unit("project", top, layer, unit)
        flat = F.flatten(top[:, unit], 1).numpy()
        places = _places(place, flat, top.shape)
        index = places[:, 0] * top.shape[3] + places[:, 1]
        activation = flat[np.arange(len(flat)), index]
        signal = np.zeros(top.shape, flat.dtype)
        start = 1 if rule == "gradient" else activation
        signal[np.arange(len(flat)), unit, places[:, 0], places[:, 1]] = start
        pixels = _down(steps, Tensor(to_device(signal, top.device)), rule)
    return Projection(pixels, activation, places, _boxes(steps, places))


def strongest(
    vgg: VGG,
    images: Any,
    layer: str,
    units: Iterable[int] | None = None,
    count: int = 9,
    batch: int = 32,
) -> Strongest:
    """Find the images of a set that excite each unit most, each image counted once.

    Parameters
    ----------
    vgg : VGG
        Used as in evaluation mode.
    images : array (N, 3, H, W), or a Dataset
        Of a dataset, the first part of each example is the image.
    layer : str
        As for ``project``.
    units : iterable of int, optional
        Default: all channels of the layer.
    count : int
        How many images of each unit; all if there are fewer.
    batch : int
        Images that are held on the network's device at a time.

    Raises
    ------
    ArgumentError
        If there is no such layer or unit, or a number is less than 1.
    """
    if count < 1 or batch < 1 or len(images) < 1:
        raise ArgumentError(
            f"strongest: count, batch and the images must be at least 1, "
            f"received {count}, {batch} and {len(images)}"
        )
    wanted = None if units is None else [*units]
    numbers, values, places = [], [], []
    with modes_kept(vgg), no_grad():
        vgg.eval()
        for first in range(0, len(images), batch):
            x = _checked("strongest", vgg, _slice(images, first, first + batch))
            _, top = _up("strongest", vgg, x, layer)
            wanted = [*range(top.shape[1])] if wanted is None else wanted
            for unit in wanted:
                _check_unit("strongest", top, layer, unit)
            flat = F.flatten(top[:, np.array(wanted)], 2).numpy().swapaxes(0, 1)
            where = flat.argmax(2)
            values.append(np.take_along_axis(flat, where[..., None], 2)[..., 0])
            places.append(np.stack(np.divmod(where, top.shape[3]), -1))
            numbers.append(np.broadcast_to(first + np.arange(len(x)), where.shape))
            # Only the winners so far are kept: memory does not grow with the set.
            number, value, place = (np.concatenate(part, 1) for part in (numbers, values, places))
            numbers, values, places = ([part] for part in _best(number, value, place, count))
    return Strongest(numbers[0], values[0], places[0])


def _best(
    number: np.ndarray, value: np.ndarray, place: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keep the largest values along axis 1; of equal ones, the earlier image."""
    order = np.argsort(-value, axis=1, kind="stable")[:, :count]
    return (
        np.take_along_axis(number, order, 1),
        np.take_along_axis(value, order, 1),
        np.take_along_axis(place, order[..., None], 1),
    )


def _slice(images: Any, first: int, stop: int) -> Any:
    if hasattr(images, "shape"):
        return images[first:stop]
    return np.stack([images[i][0] for i in range(first, min(stop, len(images)))])


# --- up and down ---

Step = tuple[nn.Module, Tensor, Tensor | None]
"""A layer, its input, and its switches if it is a max-pool."""


def _up(who: str, vgg: VGG, x: Tensor, layer: str) -> tuple[list[Step], Tensor]:
    """Bring images up to a layer: all steps, and the layer's output."""
    names = vgg.layer_names[: len(vgg.features)]
    if layer not in names:
        raise ArgumentError(
            message(
                f"{who}: there is no layer {layer!r} with a map that could be projected",
                hint=f"there are {', '.join(names)}.",
            )
        )
    steps: list[Step] = []
    for name, module in zip(names, vgg.features, strict=True):
        if isinstance(module, nn.MaxPool2d):
            y, switches = F.max_pool2d(
                x, module.kernel_size, module.stride, module.padding, module.dilation,
                module.ceil_mode, return_indices=True,
            )
        elif isinstance(module, nn.AvgPool2d):
            raise ArgumentError(
                message(
                    f"{who}: {name} is an average pooling, which has no switches",
                    hint='load the same weights into a VGG with pooling="max", or choose a '
                    "layer before it.",
                )
            )
        else:
            y, switches = module(x), None
        steps.append((module, x, switches))
        x = y
        if name == layer:
            break
    return steps, x


def _down(steps: Sequence[Step], signal: Tensor, rule: str) -> Tensor:
    """Bring a signal down to the pixels."""
    for module, x, switches in reversed(steps):
        if isinstance(module, nn.MaxPool2d):
            signal = F.max_unpool2d(
                signal, switches, module.kernel_size, module.stride, module.padding,
                output_size=x.shape[2:],
            )
        elif isinstance(module, nn.ReLU):
            signal = _rectified(signal, x, rule)
        elif isinstance(module, nn.BatchNorm2d):
            signal = signal * _scale(module)
        else:
            assert isinstance(module, nn.Conv2d)
            signal = F.conv_transpose2d(
                signal, module.weight, None, module.stride, module.padding,
                groups=module.groups, dilation=module.dilation,
            )
    return signal


def _rectified(signal: Tensor, x: Tensor, rule: str) -> Tensor:
    """Bring a signal down through a ReLU, whose input was x."""
    if rule != "gradient":
        signal = F.relu(signal)
    return signal if rule == "deconvnet" else F.where(x > 0, signal, 0.0)


def _scale(norm: nn.BatchNorm2d) -> Tensor:
    """The factor of each channel in a batch norm in evaluation mode, (1, C, 1, 1)."""
    assert norm.running_var is not None
    scale = 1 / F.sqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    return scale.reshape((1, -1, 1, 1))


def _boxes(steps: Sequence[Step], places: np.ndarray) -> np.ndarray:
    """Find the box of pixels that each place sees, (N, 4): from the layer down, by windows."""
    low, high = places, places + 1
    for module, x, _ in reversed(steps):
        if not isinstance(module, (nn.Conv2d, nn.MaxPool2d)):
            continue
        window, stride, padding, dilation = (
            np.array(pair("project", getattr(module, name), 0))
            for name in ("kernel_size", "stride", "padding", "dilation")
        )
        low = np.maximum(low * stride - padding, 0)
        high = np.minimum((high - 1) * stride - padding + dilation * (window - 1) + 1,
                          x.shape[2:])
    return np.concatenate([low, high], 1)


# --- what may be asked for ---


def _checked(who: str, vgg: VGG, images: Any) -> Tensor:
    """Check images, and put them on the device of the weights."""
    x = as_tensor(images)
    if x.ndim != 4 or x.shape[1] != 3:
        raise ShapeError(
            message(f"{who}: images must be (N, 3, H, W)", f"received shape {x.shape}")
        )
    return x.to(next(iter(vgg.parameters())).device)


def _check_unit(who: str, top: Tensor, layer: str, unit: int) -> None:
    if not 0 <= unit < top.shape[1]:
        raise ArgumentError(
            message(
                f"{who}: {layer} has no unit {unit}",
                f"it has {top.shape[1]} channels, 0 to {top.shape[1] - 1}",
            )
        )


def _places(place: Any, flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Check the places asked for, or find the strongest of each image: (N, 2)."""
    if place is None:
        return np.stack(np.divmod(flat.argmax(1), shape[3]), 1)
    given = np.asarray(place)
    fits = given.shape in ((2,), (len(flat), 2)) and given.dtype.kind in "iu"
    if not fits or (given < 0).any() or (given >= shape[2:]).any():
        raise ArgumentError(
            message(
                "project: a place is a row and a column of the map, for each image or for all",
                f"the map is {shape[2]} x {shape[3]}, received {given.tolist()}",
            )
        )
    return np.broadcast_to(given, (len(flat), 2)).astype(np.int64)
