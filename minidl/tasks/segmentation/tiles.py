"""Overlap-tile inference: an image of any size through a network of one size, without a seam.

A network of valid convolutions loses ``border`` pixels at each side. So the output is cut into
tiles, and each is computed from an input that reaches ``border`` pixels further; where that is
outside the image, the image is mirrored at its edge pixels. Only the pixels of one tile are read
at a time: the image may be a ``numpy.memmap`` larger than the memory.

Are the tiles' outputs those of one pass over the whole image? Only if they *step* by a multiple
of the network's stride (16 for U-Net), since pooling pairs pixels from the tile's own corner. The
released U-Net steps by its whole output, 388, which is 4 more than a multiple of 16, and so pairs
pixels differently in each tile. By default we step by the largest multiple of ``stride`` that the
output has room for (384), which makes the tiles exact; ``step`` chooses otherwise.

Source: Ronneberger, Fischer & Brox 2015, "U-Net", section 2 and figure 2; the mirror, and the
mean over mirrored images, are of the released code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import minidl.functional as F
from minidl.autograd import no_grad
from minidl.compute.arrays import to_device
from minidl.compute.windows import pair
from minidl.errors import ArgumentError, ShapeError, message
from minidl.tensor import Tensor, as_tensor

Model = Callable[[Tensor], Tensor]
"""A function of an image, (1, C, H, W) -> (1, O, I, J)."""


class Tile(NamedTuple):
    """The scores (O, h, w) of a window of the image."""

    rows: slice
    columns: slice
    scores: np.ndarray


def overlap_tiles(
    model: Model,
    image: np.ndarray,
    output: int | tuple[int, int],
    border: int | tuple[int, int],
    stride: int = 1,
    step: int | tuple[int, int] | None = None,
    device: str = "cpu",
) -> Iterator[Tile]:
    """Score an image tile by tile; together the tiles cover each pixel once.

    Parameters
    ----------
    model : callable
        A network, in evaluation mode. From output + 2 border pixels a side it makes ``output``
        (or more, whose middle is used: so a network with padding can be tiled, too).
    image : array, shape (C, H, W)
        Read tile by tile.
    output : int or (int, int)
        Size of a tile's output, in pixels: 388.
    border : int or (int, int)
        Pixels that each tile's input reaches further at each side: 92.
    stride : int
        Stride of the network, the product of its poolings' strides: 16.
    step : int or (int, int), optional
        Pixels from tile to tile. Default: the largest multiple of ``stride`` within ``output``.
    device : {"cpu", "cuda"}
        Where the model is.

    Raises
    ------
    ArgumentError
        If tiles would leave gaps, or do not move on.
    ShapeError
        If the model makes less than ``output``.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ShapeError(f"overlap_tiles: the image must be (C, H, W), received {image.shape}")
    outputs = pair("overlap_tiles: output", output, 1)
    borders = pair("overlap_tiles: border", border, 0)
    steps = tuple(o // stride * stride for o in outputs)
    if step is not None:
        steps = pair("overlap_tiles: step", step, 1)
    for o, s in zip(outputs, steps, strict=True):
        if not 0 < s <= o:
            raise ArgumentError(
                message(
                    "overlap_tiles: a step must be from 1 to the size of the output",
                    f"received output = {outputs}, stride = {stride}, so step = {steps}",
                )
            )
    return _tiles(model, image, outputs, borders, (steps[0], steps[1]), device)


def _tiles(
    model: Model,
    image: np.ndarray,
    outputs: tuple[int, int],
    borders: tuple[int, int],
    steps: tuple[int, int],
    device: str,
) -> Iterator[Tile]:
    _, h, w = image.shape
    for top in range(0, h, steps[0]):
        rows = mirrored_places(top - borders[0], outputs[0] + 2 * borders[0], h)
        for left in range(0, w, steps[1]):
            columns = mirrored_places(left - borders[1], outputs[1] + 2 * borders[1], w)
            tile = _read(image, rows, columns)
            with no_grad():
                scores = model(Tensor(to_device(tile[None], device)))
            kept = _middle(scores, outputs)
            height, width = min(steps[0], h - top), min(steps[1], w - left)
            yield Tile(
                slice(top, top + height),
                slice(left, left + width),
                kept[:, :height, :width],
            )


def overlap_tile(model: Model, image: np.ndarray, *args: Any, **settings: Any) -> np.ndarray:
    """Score a whole image by ``overlap_tiles``, with its arguments: (C, H, W) -> (O, H, W)."""
    whole: np.ndarray | None = None
    for rows, columns, scores in overlap_tiles(model, image, *args, **settings):
        if whole is None:
            whole = np.empty((scores.shape[0], *image.shape[1:]), scores.dtype)
        whole[:, rows, columns] = scores
    assert whole is not None  # an image has a pixel, and so a tile
    return whole


def mirrored_places(start: int, count: int, size: int) -> np.ndarray:
    """Indices of ``count`` pixels from ``start`` on, in a row of ``size`` between two mirrors.

    The edge pixels are the mirrors and are not repeated, as in ``numpy.pad(mode="reflect")``:

    >>> from minidl.tasks.segmentation.tiles import mirrored_places
    >>> mirrored_places(-3, 9, 4).tolist()
    [3, 2, 1, 0, 1, 2, 3, 2, 1]
    """
    if size == 1:
        return np.zeros(count, np.int64)
    period = 2 * (size - 1)
    folded = np.arange(start, start + count) % period
    return np.minimum(folded, period - folded)


def _read(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Read the pixels at these rows and columns, and none outside their range."""
    top, left = rows.min(), columns.min()
    part = np.asarray(image[:, top : rows.max() + 1, left : columns.max() + 1])
    return np.ascontiguousarray(part[:, (rows - top)[:, None], columns - left])


def _middle(scores: Tensor, outputs: tuple[int, int]) -> np.ndarray:
    spare = [made - wanted for made, wanted in zip(scores.shape[-2:], outputs, strict=True)]
    if scores.ndim != 4 or scores.shape[0] != 1 or min(spare) < 0:
        raise ShapeError(
            message(
                "overlap_tiles: the model must make (1, O, I, J), at least of the output's size",
                f"it made {scores.shape}; output = {outputs}",
                hint="choose an output that belongs to the model, such as 388 of U-Net's 572.",
            )
        )
    top, left = spare[0] // 2, spare[1] // 2
    whole = scores.numpy()[0]
    return whole[:, top : top + outputs[0], left : left + outputs[1]]


def mirrored_mean(model: Model) -> Model:
    """Make a model that answers with the mean over four mirrorings: none, across, down, both."""

    def mean(x: Tensor) -> Tensor:
        x = as_tensor(x)
        answers = []
        for down in (slice(None), slice(None, None, -1)):
            for across in (slice(None), slice(None, None, -1)):
                answers.append(model(x[..., down, across])[..., down, across])
        return F.stack(answers).mean(0)

    return mean
