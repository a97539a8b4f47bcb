"""Photographs of a folder, each as a square of one size: what networks of style are trained on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minidl.data.dataset import Dataset, Example
from minidl.data.images import ENDINGS, opened, read_image
from minidl.data.transforms import RandomCrop, Resize
from minidl.errors import ArgumentError, DataError, message


class Photographs(Dataset):
    """All pictures in a folder and in those below it: example i is ((3, size, size),).

    The shorter side becomes ``size`` pixels long, and a square is cut out at random along the
    other.

    Parameters
    ----------
    root : folder
    size : int
        A multiple of 4.

    Raises
    ------
    DataError
        If there is no such folder, no picture in it, or a file that cannot be opened as one.
    """

    def __init__(self, root: str | os.PathLike[str], size: int = 256):
        if size < 4 or size % 4:
            raise ArgumentError(f"Photographs: size must be a multiple of 4, received {size}")
        folder = Path(root)
        if not folder.is_dir():
            raise DataError(f"Photographs: there is no folder '{folder}'")
        self.size = size
        self.files = sorted(
            p for p in folder.rglob("*")
            if p.suffix.lower() in ENDINGS and not p.name.startswith(".") and p.is_file()
        )
        if not self.files:
            raise DataError(
                message(
                    f"Photographs: '{folder}' has no pictures in it",
                    hint=f"a picture's name ends in one of {', '.join(ENDINGS)}.",
                )
            )
        for path in self.files:
            _check_header(path)

    def __len__(self) -> int:
        return len(self.files)

    def example(self, i: int) -> Example:
        return (read_image(self.files[i]),)

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        """Cut the square of photograph i at a place drawn from ``rng``."""
        x = self.example(i)[0]
        scale = self.size / min(x.shape[1:])
        h, w = (max(round(side * scale), self.size) for side in x.shape[1:])
        return (RandomCrop(self.size)(Resize((h, w))(x, rng), rng),)


def _check_header(path: Path) -> None:
    """Refuse a file that is no picture now, and not after days of training."""
    try:
        with opened(path) as image:
            small = min(image.size) < 1
    except Exception as cause:  # Pillow's readers raise many kinds
        raise DataError(f"Photographs: '{path}' is not an image file: {cause}") from None
    if small:
        raise DataError(f"Photographs: '{path}' has no pixels")
