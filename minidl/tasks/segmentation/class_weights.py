"""Median-frequency balancing: rare classes weigh more.

    f_c = pixels of class c / pixels of all images in which c occurs
    w_c = median over classes of f / f_c

A class of median frequency weighs 1. A pole is rare in the images that show one, and weighs
more; a class that occurs in few images is not made heavier for that alone.

Source: Eigen & Fergus 2015, "Predicting depth, surface normals and semantic labels with a common
multi-scale convolutional architecture", section on semantic labels (the denominator, from notes on
the paper); Badrinarayanan, Kendall & Cipolla 2017, "SegNet", section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.tasks.segmentation.labels import flat_labels


class ClassFrequencies:
    """Counts of pixels, image by image: a training set need not fit into memory.

    Parameters
    ----------
    classes : int
    ignore_index : int, optional
        A label whose pixels do not count, neither as a class nor as pixels of the image.
    """

    def __init__(self, classes: int, ignore_index: int | None = None):
        self.classes, self.ignore_index = classes, ignore_index
        self.pixels = np.zeros(classes, np.int64)
        """Pixels of each class, in all images."""
        self.image_pixels = np.zeros(classes, np.int64)
        """All pixels of the images in which each class occurs."""

    def add(self, labels: Any) -> None:
        """Count one image of labels, (H, W)."""
        known = flat_labels("ClassFrequencies", labels, self.classes, self.ignore_index)
        counts = np.bincount(known, minlength=self.classes)
        self.pixels += counts
        self.image_pixels += np.where(counts > 0, known.size, 0)

    def frequencies(self) -> np.ndarray:
        """The frequency f of each class, (C,); 0 if it never occurred."""
        return self.pixels / np.maximum(self.image_pixels, 1)

    def weights(self) -> np.ndarray:
        """The weight w of each class, (C,), float32; 0 if it never occurred.

        The median is over the classes that did occur.
        """
        f = self.frequencies()
        seen = f > 0
        weights = np.zeros(self.classes, np.float32)
        if seen.any():
            weights[seen] = np.median(f[seen]) / f[seen]
        return weights


def median_frequency_weights(
    images: Iterable[Any], classes: int, ignore_index: int | None = None
) -> np.ndarray:
    """Weigh classes by label images, each (H, W): the weights w, (C,).

    Examples
    --------
    >>> from minidl.tasks.segmentation import median_frequency_weights
    >>> median_frequency_weights([[[0, 0, 0, 1]], [[0, 0, 0, 0]]], classes=2).tolist()
    [0.6428571343421936, 2.25]
    """
    counted = ClassFrequencies(classes, ignore_index)
    for labels in images:
        counted.add(labels)
    return counted.weights()
