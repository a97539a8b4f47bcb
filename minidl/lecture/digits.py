"""Handwritten digits as the lecture's examples use them: read, and split in two."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidl.data import ArrayDataset, digits, has_mnist, mnist
from minidl.errors import ArgumentError, message


class Digits(NamedTuple):
    """Images of handwritten digits, split in two; (N, 1, H, W) float32 in [0, 1], labels int64."""

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    trials: int
    """Number of black or white points that a grey pixel is the mean of."""

    @property
    def image(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of one image."""
        _, c, h, w = self.train_images.shape
        return c, h, w


def load_digits(data: str, root: Path | None, seed: int = 0) -> Digits:
    """Read the digits the flags ask for.

    ``"digits"``: scikit-learn's 1,797, split 1,500 / 297. A pixel there counts the
    ink among 4x4 points of a larger picture, so it has 16 trials. ``"mnist"``: 60,000 /
    10,000 if the folder has all four files; with the 10,000 test images alone,
    these are split 9,000 / 1,000. Both splits are drawn by the seed.

    Raises
    ------
    ArgumentError
        If MNIST is asked for without a folder.
    DataError
        If a file is missing or damaged.
    """
    if data == "digits":
        return _split("scikit-learn's digits", digits(), 297, 16, seed)
    if root is None:
        raise ArgumentError(
            message("--data mnist needs a folder", hint="pass --root DIR with MNIST's IDX files.")
        )
    test = mnist(root, train=False)
    if not has_mnist(root, train=True):
        return _split("MNIST's 10,000 test images", test, 1000, 1, seed)
    images, labels = mnist(root, train=True).arrays
    test_images, test_labels = test.arrays
    return Digits("MNIST", images, labels, test_images, test_labels, trials=1)


def _split(name: str, dataset: ArrayDataset, held_out: int, trials: int, seed: int) -> Digits:
    images, labels = dataset.arrays
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = order[:held_out], order[held_out:]
    return Digits(name, images[train], labels[train], images[test], labels[test], trials)
