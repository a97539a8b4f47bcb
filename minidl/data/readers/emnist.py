"""EMNIST: handwritten digits and letters of 28x28 pixels, from their IDX files.

Source: Cohen, Afshar, Tapson & van Schaik 2017, "EMNIST: an extension of MNIST to handwritten
letters", arXiv:1702.05373, sections II and III.
"""

from __future__ import annotations

import os
from pathlib import Path
from string import ascii_lowercase, ascii_uppercase, digits

from minidl.data.dataset import ArrayDataset
from minidl.data.readers.mnist import FOLDERS, as_dataset, examples, file_named
from minidl.errors import ArgumentError, DataError, message

MERGED = digits + ascii_uppercase + "abdefghnqrt"
"""Classes of which a small letter that looks like its capital is none of its own."""
EMNIST_CLASSES = {
    "byclass": digits + ascii_uppercase + ascii_lowercase,
    "bymerge": MERGED,
    "balanced": MERGED,
    "letters": ascii_uppercase,
    "digits": digits,
    "mnist": digits,
}
"""The signs of each split, in the order of its labels."""
FIRST = {"letters": 1}
"""The number that a split's files give to its first class, where that is not 0."""


def emnist(root: str | os.PathLike[str], split: str, train: bool = True) -> ArrayDataset:
    """Read EMNIST: images (N, 1, 28, 28), float32 in [0, 1], and labels (N,), int64.

    Parameters
    ----------
    root : folder
        Holds the IDX files (emnist-balanced-train-images-idx3-ubyte and so on), plain or .gz, or
        a folder ``gzip``, ``raw`` or ``EMNIST/raw`` with them.
    split : {"byclass", "bymerge", "balanced", "letters", "digits", "mnist"}
        ``EMNIST_CLASSES[split][label]`` is the sign. Labels count from 0, also those of
        "letters", whose files count from 1 (and torchvision with them).
    train : bool
        The part to learn from, or the one to test with.

    Raises
    ------
    ArgumentError
        If there is no such split, or ``train`` is neither True nor False.
    DataError
        If a file is missing, damaged, or not what it should be.

    Notes
    -----
    The files hold images with their rows as columns; they are turned upright here.
    """
    if split not in EMNIST_CLASSES or train not in (True, False):
        raise ArgumentError(
            message(
                f"emnist: the splits are {', '.join(EMNIST_CLASSES)}; train is True or False",
                f"received {split!r}, train={train!r}",
            )
        )
    image_path, label_path = _find(Path(root), f"emnist-{split}-{'train' if train else 'test'}")
    images, labels = examples("emnist", image_path, label_path)
    first, count = FIRST.get(split, 0), len(EMNIST_CLASSES[split])
    if labels.size and not first <= labels.min() <= labels.max() < first + count:
        raise DataError(
            f"emnist: '{label_path}' holds labels from {labels.min()} to {labels.max()}; those of "
            f"{split!r} are {first} to {first + count - 1}"
        )
    return as_dataset(images.swapaxes(1, 2), labels - first)


def _find(root: Path, name: str) -> tuple[Path, Path]:
    names = f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte"
    for folder in FOLDERS:
        images, labels = (file_named(root / folder, name) for name in names)
        if images is not None and labels is not None:
            return images, labels
    raise DataError(
        message(
            f"emnist: '{root}' does not hold {names[0]} and {names[1]}, plain or .gz",
            f"nor do the folders {', '.join(f for f in FOLDERS if f)} in it",
            hint="unpack gzip.zip of https://www.nist.gov/itl/products-and-services/emnist-dataset",
        )
    )
