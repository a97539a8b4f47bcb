"""Crops around objects, as DeconvNet learns from them: easy ones first.

A data set's labels say which pixels are of which class; connected pieces of a class stand for
objects. (Two cars that overlap are one piece: masks of instances would tell more.)

    stage 1    the object in the middle, its box enlarged by 1.2; all other objects are background
    stage 2    boxes up to twice as large that may lie beside the object, and all classes count

Source: Noh, Hong & Han 2015, "Learning deconvolution network for semantic segmentation", section
4.3, and the release, which resizes a crop to 250 pixels and takes 224 of them. Its second stage
has Edge Boxes' proposals, for which the shifted boxes stand in here: how far they are shifted and
enlarged is our choice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.data.dataset import Dataset
from minidl.data.transforms import Resize
from minidl.errors import ArgumentError
from minidl.tasks.segmentation.connected import components

BOX_FACTOR = 1.2
"""Sides of a crop, in units of the sides of the object's box."""
RESIZE_FACTOR = 250 / 224
"""Side that a crop is resized to, in units of the side of the part that is taken of it."""
Box = tuple[int, int, int, int]
"""First row and column of a rectangle, and those behind its last."""


class ObjectBox(NamedTuple):
    """The place and the class of an object."""

    image: int
    """Number of the image."""
    label: int
    box: Box


def object_boxes(scenes: Dataset, classes: int, least: int) -> list[ObjectBox]:
    """Find the objects of all images: connected pieces of classes 1 and up.

    Parameters
    ----------
    scenes : Dataset
        Of images (3, H, W) and labels (H, W), 0 being the background.
    classes : int
        Labels from here on (such as that of ignored pixels) are no objects.
    least : int
        Pixels; smaller pieces are left out.
    """
    found = []
    for i in range(len(scenes)):
        _, labels = scenes[i]
        for label in set(np.unique(labels)) & set(range(1, classes)):
            pieces = components(labels == label, 8)
            for piece in np.flatnonzero(np.bincount(pieces.ravel()) >= least):
                if piece:
                    rows, columns = np.nonzero(pieces == piece)
                    box = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
                    top, left, bottom, right = (int(side) for side in box)
                    found.append(ObjectBox(i, int(label), (top, left, bottom, right)))
    return found


def empty_boxes(labels: np.ndarray, count: int, seed: int, least: int = 12) -> list[ObjectBox]:
    """Find boxes that hold no object to speak of, as boxes of class 0, ``count`` if possible.

    Parameters
    ----------
    labels : array of integers, shape (N, H, W)
        Objects in less than 3 % of a box's pixels are nothing to speak of.
    count : int
    seed : int
    least : int
        Pixels of a box's sides, which go up to half of the image's height.
    """
    rng, found = np.random.default_rng(seed), list[ObjectBox]()
    images, height, width = labels.shape
    for _ in range(200 * count):
        if len(found) == count:
            break
        i, (h, w) = int(rng.integers(images)), rng.integers(least, height // 2, size=2)
        top, left = int(rng.integers(height - h)), int(rng.integers(width - w))
        box = (top, left, top + int(h), left + int(w))
        if (cut_labels(labels[i], box, 16) > 0).mean() < 0.03:
            found.append(ObjectBox(i, 0, box))
    return found


def balanced(found: list[ObjectBox], most: int = 5) -> list[ObjectBox]:
    """Repeat boxes of rare classes until all classes are as frequent, at most ``most`` times."""
    counts = np.bincount([one.label for one in found])
    return [one for one in found for _ in range(min(most, int(counts.max() // counts[one.label])))]


def enlarged_box(box: Box, shape: tuple[int, ...], factor: float, shift: Any = (0, 0)) -> Box:
    """Enlarge a box about its middle and shift it by shares of its sides, within the image."""
    corners = np.array(box, float).reshape(2, 2)
    sides = corners[1] - corners[0]
    middle = corners.mean(0) + np.array(shift) * sides
    low = np.clip(np.floor(middle - factor * sides / 2), 0, np.array(shape) - 4)
    high = np.clip(np.ceil(middle + factor * sides / 2), low + 4, shape)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def cut(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Cut a box out of an image and resize it to size x size, whatever its sides."""
    top, left, bottom, right = box
    return Resize(size)(image[:, top:bottom, left:right], np.random.default_rng(0))


def cut_labels(labels: np.ndarray, box: Box, size: int) -> np.ndarray:
    """Cut a box out of labels and resize it to size x size, reading the nearest label."""
    top, left, bottom, right = box
    share = (np.arange(size) + 0.5) / size
    rows, columns = (top + share * (bottom - top)), (left + share * (right - left))
    return labels[rows.astype(int)[:, None], columns.astype(int)]


class ObjectCrops(Dataset):
    """Crops with an object in or near the middle: images (3, S, S) and labels (S, S).

    Parameters
    ----------
    scenes : Dataset
        Of images (3, H, W) and labels (H, W), 0 being the background.
    found : list of ObjectBox
    stage : {1, 2}
    size : int
        S.
    ignore : int, optional
        The label of pixels of no class, which stay as they are in stage 1.

    Notes
    -----
    A crop is resized to 250 / 224 of S, and a part of it, mirrored or not, is drawn.
    """

    def __init__(
        self, scenes: Dataset, found: list[ObjectBox], stage: int, size: int,
        ignore: int | None = None,
    ):
        if stage not in (1, 2) or size < 1:
            raise ArgumentError(
                f"ObjectCrops: stage is 1 or 2, size at least 1, received {stage} and {size}"
            )
        self.scenes, self.found, self.stage, self.size = scenes, found, stage, size
        self.ignore = ignore

    def __len__(self) -> int:
        return len(self.found)

    def draw(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw crop i at a place of ``rng``'s choice, mirrored or not."""
        one = self.found[i]
        image, labels = self.scenes[one.image]
        factor, shift = BOX_FACTOR, np.zeros(2)
        if self.stage == 1:
            kept = (labels == one.label) | (labels == self.ignore)
            labels = np.where(kept, labels, 0)
        else:
            factor, shift = BOX_FACTOR * 2 ** rng.uniform(0, 1), rng.uniform(-0.2, 0.2, 2)
        box = enlarged_box(one.box, labels.shape, factor, shift)
        wide = round(self.size * RESIZE_FACTOR)
        top, left = rng.integers(wide - self.size + 1, size=2)
        part = (slice(top, top + self.size), slice(left, left + self.size))
        image, labels = cut(image, box, wide)[:, *part], cut_labels(labels, box, wide)[part]
        if rng.random() < 0.5:
            image, labels = image[:, :, ::-1], labels[:, ::-1]
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Stack all crops, each drawn by its own number: images, and labels or classes."""
        images, others = zip(*(self[i] for i in range(len(self))), strict=True)
        return np.stack(images), np.stack(others)


class NamedCrops(ObjectCrops):
    """Crops around objects, each with the class of its object in place of labels."""

    def draw(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw crop i, and give the class of its object."""
        return super().draw(i, rng)[0], np.array(self.found[i].label)
