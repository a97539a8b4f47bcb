"""Does a projection point at what a unit uses? Paint those pixels over, and see what it loses.

A map says of each pixel in a unit's receptive field how much it matters, by whatever way. The
share of pixels that it calls most important is painted grey; the more of its activation the unit
loses, the better the map has pointed. Painting over random pixels is the baseline; the middle of
the field, and the projection of another unit, say how much of it is about this unit at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl import no_grad
from minidl.models.vgg import VGG
from minidl.nn.conversion import beside
from minidl.tasks.units.projection import RULES, Strongest, project, strongest


class SelectiveUnits(NamedTuple):
    """Some units of a layer, and the images that excite each most."""

    layer: str
    units: list[int]
    best: Strongest


def selective_units(vgg: VGG, images: np.ndarray, layer: str, count: int) -> SelectiveUnits:
    """Find the units that single out nine images most clearly, and these images.

    Selectivity is the mean of the nine largest activations over the mean of all images' largest.
    """
    found = strongest(vgg, images, layer, count=len(images))
    mean, ninth = found.activation.mean(1), found.activation[:, :9].min(1)
    lead = np.where(ninth > 0, found.activation[:, :9].mean(1) / np.maximum(mean, 1e-12), 0)
    units = np.argsort(-lead, kind="stable")[:count]
    best = Strongest(*(part[units, :9] for part in found))
    return SelectiveUnits(layer, [int(u) for u in units], best)


def activation_lost(
    vgg: VGG, images: np.ndarray, found: SelectiveUnits, share: float, seed: int
) -> dict[str, float]:
    """Measure the share of activation lost, for each kind of map: means over units and images.

    Parameters
    ----------
    vgg : VGG
        In evaluation mode.
    images : array, shape (N, 3, H, W)
        As the network expects them.
    found : SelectiveUnits
        Units, and the strongest of these images.
    share : float
        Share of the pixels in a unit's box that are painted over, with the mean of all images.
    seed : int
        Seed of the random pixels.
    """
    rng, grey = np.random.default_rng(seed), images.mean((0, 2, 3), dtype=float)[:, None, None]
    lost: dict[str, list[np.ndarray]] = {}
    for unit, *rows in zip(found.units, *found.best, strict=True):
        numbers, activations, places = (part[rows[1] > 0] for part in rows)
        if not len(numbers):
            continue  # a unit that is never active
        maps, boxes = saliency_maps(vgg, images[numbers], found.layer, unit, places, rng)
        for name, strengths in maps.items():
            pairs = zip(strengths, boxes, strict=True)
            masks = np.stack([strongest_pixels(*pair, share) for pair in pairs])
            painted = np.where(masks[:, None], grey, images[numbers]).astype(np.float32)
            after = _activations(vgg, painted, found.layer)
            after = after[np.arange(len(numbers)), unit, places[:, 0], places[:, 1]]
            lost.setdefault(name, []).append(1 - after / activations)
    return {name: float(np.mean(np.concatenate(values))) for name, values in lost.items()}


def saliency_maps(
    vgg: VGG, images: np.ndarray, layer: str, unit: int, places: np.ndarray,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Map how much each pixel matters, (N, H, W) for each kind of map; and the boxes (N, 4)."""
    others = rivals(vgg, images, layer, unit, places)
    seen = {rule: project(vgg, images, layer, unit, rule, places) for rule in RULES}
    boxes = seen["deconvnet"].box
    rows, columns = (np.arange(n) for n in images.shape[2:])
    y, x = ((boxes[:, [i]] + boxes[:, [i + 2]] - 1) / 2 for i in (0, 1))
    far = ((rows - y) ** 2)[:, :, None] + ((columns - x) ** 2)[:, None]
    alien = [project(vgg, images[[i]], layer, other, place=places[i]).pixels.numpy()
             for i, other in enumerate(others)]
    maps = {"random pixels": rng.random(far.shape), "the middle": -far,
            "another unit's": np.abs(np.concatenate(alien)).sum(1)}
    maps |= {rule: np.abs(projection.pixels.numpy()).sum(1) for rule, projection in seen.items()}
    return maps, boxes


def rivals(vgg: VGG, images: np.ndarray, layer: str, unit: int, places: np.ndarray) -> list[int]:
    """Find in each image the other unit that is most active at the same place."""
    maps = _activations(vgg, images, layer)
    there = maps[np.arange(len(images)), :, places[:, 0], places[:, 1]]
    there[:, unit] = -np.inf
    return [int(u) for u in there.argmax(1)]


def strongest_pixels(strength: np.ndarray, box: np.ndarray, share: float) -> np.ndarray:
    """Mark the share of a box's pixels that matters most: (H, W) -> (H, W) bool.

    >>> strongest_pixels(np.array([[9, 1, 2], [9, 3, 4]]), np.array([0, 1, 2, 3]), 0.5).tolist()
    [[False, False, False], [False, True, True]]
    """
    top, left, bottom, right = box
    part = strength[top:bottom, left:right]
    inside = np.zeros(part.size, bool)
    inside[np.argsort(-part, axis=None, kind="stable")[: max(1, round(share * part.size))]] = True
    mask = np.zeros(strength.shape, bool)
    mask[top:bottom, left:right] = inside.reshape(part.shape)
    return mask


def _activations(vgg: VGG, images: np.ndarray, layer: str) -> np.ndarray:
    with no_grad():
        return vgg.taps(beside(vgg, images), [layer])[layer].numpy()
