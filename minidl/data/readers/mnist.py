"""MNIST: 70,000 handwritten digits of 28x28 pixels, from its IDX files.

Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to
document recognition".
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minidl.data.dataset import ArrayDataset
from minidl.data.readers.idx import read_idx
from minidl.errors import ArgumentError, DataError, MinidlError, message

FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Names of the files of images and labels: the training set's (True), the test set's (False)."""
FOLDERS = ("", "raw", "MNIST/raw", "EMNIST/raw", "gzip")
"""Where the files may lie in the folder that is given: as fetched, and as torchvision has them."""
EMNIST = ("emnist-mnist", "emnist-digits")
"""Beginnings of the names of EMNIST's digits. Its images are stored with rows for columns."""

SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist/"
"""Address of the folder that files are fetched from."""
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
"""MD5 checksums of the files at SOURCE."""


def mnist(root: str | os.PathLike[str], train: bool = True, download: bool = False) -> ArrayDataset:
    """Read MNIST: images (N, 1, 28, 28), float32 in [0, 1], and labels (N,), int64.

    Parameters
    ----------
    root : folder
        Holds the IDX files, plain or .gz, or a folder ``MNIST/raw`` with them; or else those of
        EMNIST's digits, which are turned as MNIST's.
    train : bool
        The 60,000 to learn from, or the 10,000 to test with.
    download : bool
        Fetch what is missing, and verify it (needs ``minidl[data]``).

    Raises
    ------
    ArgumentError
        If ``train`` is neither True nor False.
    DataError
        If a file is missing, damaged, or not what it should be, or cannot be fetched.
    MinidlError
        If a download is wanted and pooch is not installed.
    """
    if train not in (True, False):
        raise ArgumentError(
            message(
                "mnist: train is True or False",
                f"received {train!r}",
                hint="the test set is mnist(root, train=False).",
            )
        )
    image_path, label_path = _find(Path(root), train, download)
    images, labels = examples("mnist", image_path, label_path)
    if labels.size and labels.max() > 9:
        raise DataError(f"mnist: '{label_path}' holds the label {labels.max()}, which is no digit")
    if image_path.name.startswith(EMNIST):
        images = images.swapaxes(1, 2)
    return as_dataset(images, labels)


def examples(who: str, image_path: Path, label_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the bytes of images, (N, 28, 28), and of their labels, (N,), for ``who``.

    Raises
    ------
    DataError
        If a file holds something else, or they do not belong together.
    """
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
        raise DataError(
            f"{who}: '{image_path}' holds {images.dtype} {images.shape}, not images (N, 28, 28)"
        )
    if labels.dtype != np.uint8 or labels.shape != (len(images),):
        raise DataError(
            message(
                f"{who}: images and labels do not belong together",
                f"'{image_path}' holds {len(images)} images",
                f"'{label_path}' holds {labels.dtype} {labels.shape}",
            )
        )
    return images, labels


def as_dataset(images: np.ndarray, labels: np.ndarray) -> ArrayDataset:
    """Bytes as images (N, 1, 28, 28), float32 in [0, 1], and labels as int64."""
    pixels = images[:, None].astype(np.float32, order="C")
    pixels /= 255
    return ArrayDataset(pixels, labels.astype(np.int64))


def has_mnist(root: str | os.PathLike[str], train: bool = True) -> bool:
    """Whether a folder holds both files of a part of MNIST."""
    return _existing(Path(root), train) is not None


def _existing(root: Path, train: bool) -> tuple[Path, Path] | None:
    """Find both files of a part, under one of the names and in one of the folders they have."""
    names = FILES[train]
    part = "train" if train else "test"
    emnist = [tuple(f"{e}-{name.replace('t10k', part)}" for name in names) for e in EMNIST]
    for folder in FOLDERS:
        for pair in (names, *emnist):
            found = [file_named(root / folder, name) for name in pair]
            if found[0] is not None and found[1] is not None:
                return found[0], found[1]
    return None


def file_named(folder: Path, name: str) -> Path | None:
    """Find an IDX file, plain or packed, also as some programs name it."""
    dotted = name.replace("-idx", ".idx")  # as unpacked by some programs
    places = (folder / f"{n}{ending}" for n in (name, dotted) for ending in ("", ".gz"))
    return next((p for p in places if p.is_file()), None)


def _find(root: Path, train: bool, download: bool) -> tuple[Path, Path]:
    found = _existing(root, train)
    if found is not None:
        return found
    if download:
        first, second = (file_named(root, n) or _fetch(root, f"{n}.gz") for n in FILES[train])
        return first, second
    missing = [n for n in FILES[train] if all(file_named(root / f, n) is None for f in FOLDERS)]
    missing = missing or list(FILES[train])  # both, but not in one folder
    raise DataError(
        message(
            f"mnist: '{root}' holds neither {missing[0]} nor {missing[0]}.gz",
            f"nor do the folders {', '.join(f for f in FOLDERS if f)} in it",
            hint="pass download=True to fetch it, or another folder.",
        )
    )


def _fetch(root: Path, file: str) -> Path:
    try:
        import pooch
    except ImportError as cause:
        raise MinidlError(
            message("mnist: downloading needs pooch", hint="pip install 'minidl[data]'.")
        ) from cause
    try:
        return Path(pooch.retrieve(SOURCE + file, f"md5:{MD5[file]}", fname=file, path=root))
    except (OSError, ValueError) as cause:  # no connection; a checksum that differs
        raise DataError(
            message(
                f"mnist: {file} could not be fetched into '{root}'",
                f"{type(cause).__name__}: {cause}",
                hint="try again later, or put the file there yourself.",
            )
        ) from cause
