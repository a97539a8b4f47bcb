"""Tiles of annotated images, shifted, turned, stretched in grey and bent anew each time.

How U-Net learns from 30 images: what should not matter is different every time.

Source: Ronneberger, Fischer & Brox 2015, "U-Net", section 3.1, which names shift, rotation, grey
values and elastic deformation; section 3 for w_c, which balances the classes. How it does, by
median frequency, is our choice, as are how far grey values vary, turns and mirror images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.errors import ShapeError, message
from minidl.tasks.segmentation.class_weights import median_frequency_weights
from minidl.tasks.segmentation.elastic import ElasticDeformation
from minidl.tasks.segmentation.weight_map import border_weight_map, separate_touching


class DeformedTiles(Dataset):
    """Randomly deformed tiles of annotated images: image, labels, weights of U-Net's equation 2.

    (1, T, T) float32, (T - 2 border, T - 2 border) int64: 1 within cells, and float32

    Parameters
    ----------
    images : array, shape (N, 1, H, W)
        In [0, 1].
    instances : array of integers, shape (N, H, W)
        The cells, 0 where there is none.
    tile : int
        T, in pixels. The images are mirrored ``border`` pixels beyond their edges.
    border : int
        Pixels that a valid network loses at each side: labels and weights are of the rest.
    grey : float
        Standard deviation of the contrast's factor; half of it is that of the brightness.
    class_weight : pair of floats, optional
        w_c of background and of cells. Default: ``median_frequency_weights`` of all instances.

    Raises
    ------
    ShapeError
        If a tile is larger than a mirrored image, or image and instances differ.
    """

    def __init__(
        self,
        images: np.ndarray,
        instances: np.ndarray,
        tile: int,
        border: int,
        grey: float = 0.1,
        class_weight: Any = None,
    ):
        h, w = images.shape[-2:]
        if instances.shape != (len(images), h, w) or tile > min(h, w) + 2 * border:
            raise ShapeError(
                message(
                    "DeformedTiles: images and instances must fit, and hold a tile",
                    f"images have shape {images.shape}, instances {instances.shape}",
                    f"tile = {tile}, of images mirrored {border} pixels beyond each edge",
                )
            )
        self.images, self.instances = images, instances
        self.tile, self.border, self.grey = tile, border, grey
        if class_weight is None:
            class_weight = median_frequency_weights((instances > 0).astype(np.int64), 2)
        self.class_weight = class_weight
        self.bend = ElasticDeformation()

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, i: int, rng: np.random.Generator) -> tuple[Any, ...]:
        """Draw a tile of image i by the random numbers of ``rng``."""
        around = ((self.border, self.border),) * 2
        image, cells = (
            np.pad(a, around, mode="reflect") for a in (self.images[i, 0], self.instances[i])
        )
        top, left = (int(rng.integers(side - self.tile + 1)) for side in image.shape)
        turns, step = int(rng.integers(4)), 1 - 2 * int(rng.integers(2))
        place = np.s_[top : top + self.tile, left : left + self.tile]
        image, cells = (np.rot90(a[place], turns)[:, ::step] for a in (image, cells))
        contrast, brightness = rng.normal(1, self.grey), rng.normal(0, self.grey / 2)
        grey = (image[None] - 0.5) * contrast + 0.5 + brightness
        bent, moved = self.bend(grey.astype(np.float32), cells, rng=rng)
        # Bending may close the gap of one pixel between two cells: it is opened anew.
        apart = separate_touching(moved)
        inside = slice(self.border, self.tile - self.border)
        middle = (inside, inside)
        labels = (apart > 0).astype(np.int64)
        return bent, labels[middle], border_weight_map(apart, self.class_weight)[middle]
