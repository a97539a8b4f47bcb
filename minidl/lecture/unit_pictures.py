"""What a network's units see, as Zeiler and Fergus show it: projections beside their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.lecture.pictures import figure_of, show
from minidl.models.vgg import VGG
from minidl.tasks.units.masking import SelectiveUnits
from minidl.tasks.units.projection import RULES, project


def contrast(pixels: np.ndarray) -> np.ndarray:
    """Turn a projection into a picture: 0 is grey, and the largest value black or white."""
    return 0.5 + 0.5 * pixels / max(float(np.abs(pixels).max()), 1e-12)


def patch(picture: np.ndarray, box: Any, side: int) -> np.ndarray:
    """Put a box of a picture into the middle of a white square, (3, side, side)."""
    top, left, bottom, right = box
    square = np.ones((3, side, side), np.float32)
    y, x = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    part = picture[:, top:bottom, left:right]
    square[:, y : y + bottom - top, x : x + right - left] = part
    return square


def mosaic(pictures: list[np.ndarray]) -> np.ndarray:
    """Lay up to nine squares out in three rows of three, with white lines between them."""
    gap = max(1, pictures[0].shape[1] // 20)
    framed = [np.pad(p, ((0, 0), (gap, gap), (gap, gap)), constant_values=1) for p in pictures]
    framed += [np.ones_like(framed[0])] * (9 - len(framed))
    return np.concatenate([np.concatenate(framed[i : i + 3], 2) for i in (0, 3, 6)], 1)


def draw_projections(
    path: Path, vgg: VGG, inputs: np.ndarray, images: np.ndarray,
    layers: Sequence[SelectiveUnits], describe: Callable[[np.ndarray], str],
) -> None:
    """Draw nine projections of a unit beside the pixels that they come from, two units a layer.

    These are the layer's first unit, and the one that shares the fewest images with it.

    Parameters
    ----------
    path : Path
        The PNG file.
    vgg : VGG
    inputs, images : arrays, shape (N, 3, H, W)
        The images as the network expects them, and as people do.
    layers : sequence of SelectiveUnits
    describe : callable
        What stands above the images of these numbers.
    """
    figure = figure_of(13, 3.5 * len(layers))
    grid = figure.subplots(len(layers), 4, squeeze=False)
    for axes, (layer, units, best) in zip(grid, layers, strict=True):
        common = [len(np.intersect1d(best.image[0], row)) for row in best.image[1:]]
        for column, k in enumerate((0, 1 + int(np.argmin(common)))):
            unit = units[k]
            seen = project(vgg, inputs[best.image[k]], layer, unit, place=best.place[k])
            side = int((seen.box[:, 2:] - seen.box[:, :2]).max())
            down = [contrast(p) for p in seen.pixels.numpy()]
            for j, pictures in enumerate((down, images[best.image[k]])):
                cuts = [patch(p, b, side) for p, b in zip(pictures, seen.box, strict=True)]
                title = describe(best.image[k]) if j else f"{layer}, unit {unit}"
                show(axes[2 * column + j], mosaic(cuts), title)
    figure.suptitle("Of each unit, its nine strongest images: projections of one activation, and "
                    "the pixels it can see", fontsize=13)
    figure.savefig(path)


def draw_rules(
    path: Path, vgg: VGG, inputs: np.ndarray, images: np.ndarray, found: SelectiveUnits
) -> None:
    """Draw the projections of the first unit's five strongest images by the three rules."""
    layer, units, best = found
    numbers, places = best.image[0, :5], best.place[0, :5]
    figure = figure_of(11, 9.2)
    grid = figure.subplots(1 + len(RULES), 5, squeeze=False)
    rows = {"the image": images[numbers]} | {
        rule: [contrast(p) for p in
               project(vgg, inputs[numbers], layer, units[0], rule, places).pixels.numpy()]
        for rule in RULES
    }
    for axes, (name, pictures) in zip(grid, rows.items(), strict=True):
        for panel, picture in zip(axes, pictures, strict=False):
            show(panel, np.clip(picture, 0, 1))
        axes[0].set_ylabel(name, fontsize=12)
    figure.suptitle(f"{layer}, unit {units[0]}, down to the pixels by three rules", fontsize=13)
    figure.savefig(path)
