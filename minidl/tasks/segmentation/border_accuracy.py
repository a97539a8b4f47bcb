"""Accuracy by distance from a border: a net may be right about things and wrong about their edges.

Most pixels lie inside of something, so the accuracy of all of them hardly sees borders. Counting
only a band around them is the "trimap" measure of Kohli, Ladický & Torr 2009, "Robust higher
order potentials for enforcing label consistency" (from memory); here each distance has a count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import ShapeError, message
from minidl.tasks.segmentation.boundaries import boundary
from minidl.tasks.segmentation.distance import distance_to
from minidl.tasks.segmentation.labels import label_array


def border_distance(labels: Any, farthest: int) -> np.ndarray:
    """Measure the distance of pixels to a border between classes, at most ``farthest`` pixels.

    (H, W) -> (H, W), integers, rounded up; 0 for pixels that touch another class

    >>> from minidl.tasks.segmentation.border_accuracy import border_distance
    >>> border_distance([[1, 1, 1, 1, 2, 2]], farthest=2).tolist()
    [[2, 2, 1, 0, 0, 1]]
    """
    labels = label_array("border_distance", labels)
    border = np.zeros(labels.shape, bool)
    for c in np.unique(labels):
        border |= boundary(labels == c)
    return np.ceil(np.minimum(distance_to(border), farthest)).astype(np.int64)


class BorderAccuracy:
    """The accuracy of pixels by their distance from a border of the target.

    Parameters
    ----------
    farthest : int
        Pixels; all that is farther counts as this far.
    ignore_index : int, optional
        Pixels where the target has this label do not count.

    Attributes
    ----------
    right, pixels : arrays of int, shape (farthest + 1,)
        Numbers of pixels at distance 0, 1, ..., farthest and more.
    """

    def __init__(self, farthest: int, ignore_index: int | None = None):
        self.farthest, self.ignore_index = farthest, ignore_index
        self.right = np.zeros(farthest + 1, np.int64)
        self.pixels = np.zeros(farthest + 1, np.int64)

    def add(self, answer: Any, target: Any) -> None:
        """Count one image: (H, W), (H, W)."""
        answer = label_array("BorderAccuracy", answer)
        target = label_array("BorderAccuracy", target)
        if answer.shape != target.shape or target.ndim != 2:
            raise ShapeError(
                message(
                    "BorderAccuracy: answer and target must both be (H, W)",
                    f"answer has shape {answer.shape}, target {target.shape}",
                )
            )
        distance = border_distance(target, self.farthest)
        known = np.ones(target.shape, bool)
        if self.ignore_index is not None:
            known = target != self.ignore_index
        count = self.farthest + 1
        self.pixels += np.bincount(distance[known], minlength=count)
        self.right += np.bincount(distance[known & (answer == target)], minlength=count)

    def between(self, nearest: int, farthest: int | None = None) -> float:
        """The share of right pixels at these distances, both included."""
        stop = self.farthest + 1 if farthest is None else farthest + 1
        return float(self.right[nearest:stop].sum() / max(self.pixels[nearest:stop].sum(), 1))

    @property
    def by_distance(self) -> list[float]:
        """The share of right pixels at each distance."""
        return [self.between(d, d) for d in range(self.farthest + 1)]
