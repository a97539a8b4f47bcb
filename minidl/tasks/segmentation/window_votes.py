"""An image answered by many boxes: each pixel takes the largest score that any of them gives it.

What DeconvNet's release does with Edge Boxes' proposals. Those are not implemented; a regular grid
of squares in several sizes may stand in for them.

Source: Noh, Hong & Han 2015, "Learning deconvolution network for semantic segmentation", section
5.1, and the release (maxima from zero on, bilinear resizing both ways).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

import minidl.functional as F
from minidl.tasks.segmentation.object_crops import Box, cut
from minidl.tensor import Tensor


def square_windows(
    shape: tuple[int, int], shares: Sequence[float] = (0.7, 0.45, 0.3), least: int = 0
) -> list[Box]:
    """Cover an image (H, W) by square boxes of several sizes, half a side apart at most.

    Parameters
    ----------
    shape : (H, W)
    shares : sequence of float
        Sides, in units of the image's shorter side.
    least : int
        Pixels; smaller squares are left out.

    >>> square_windows((4, 6), shares=(1.0,))
    [(0, 0, 4, 4), (0, 2, 4, 6)]
    """
    boxes = []
    for share in shares:
        side = round(share * min(shape))
        if side < max(least, 1):
            continue
        tops, lefts = (
            np.linspace(0, n - side, 1 + math.ceil((n - side) / (side / 2))).astype(int)
            for n in shape
        )
        boxes += [(int(t), int(l), int(t) + side, int(l) + side) for t in tops for l in lefts]
    return boxes


def largest_scores(
    scores: Callable[[np.ndarray], np.ndarray], image: np.ndarray, boxes: Sequence[Box], size: int
) -> np.ndarray:
    """Take each pixel's largest score of each class over all boxes, and zero: (classes, H, W).

    Parameters
    ----------
    scores : callable
        (N, 3, size, size) -> (N, classes, size, size).
    image : array, shape (3, H, W)
    boxes : sequence of Box
        Each is resized to a square for the network, and its scores are resized back.
    """
    found = scores(np.stack([cut(image, box, size) for box in boxes]))
    best = np.zeros((found.shape[1], *image.shape[1:]), np.float32)
    for score, (top, left, bottom, right) in zip(found, boxes, strict=True):
        back = F.interpolate(Tensor(score[None]), (bottom - top, right - left), mode="bilinear")
        part = best[:, top:bottom, left:right]
        np.maximum(part, back.numpy()[0], out=part)
    return best
