"""Images with a class for every pixel: pairs of files, and what their readers share.

    data set    images                     labels                             ignored
    CamVid      RGB, 480x360, PNG          indices 0..10, grey PNG            11
      original  RGB, 960x720, PNG          32 colours, RGB PNG                -> 11
    VOC 2012    RGB, any size, JPEG        indices 0..20, palette PNG         255
    ISBI 2012   grey, 512x512, TIFF stack  0 membrane, 255 cell, TIFF stack   -
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minidl.data.dataset import Dataset, Example, JointTransform, Transform
from minidl.data.images import ENDINGS, opened_whole, read_image, refuse_too_large, unpacked
from minidl.data.readers.legend import Legend
from minidl.errors import ArgumentError, DataError, message
from minidl.files.whole import Pathlike

MAX_PIXELS = 100_000_000
"""Largest number of pixels of a file, all pages together, that is read."""
MAX_LIST = 2**24
"""Largest size of a list of files, in bytes."""


class LabelledImages(Dataset):
    """Pairs of files: an image, and an image of its labels.

    Example i is the image (3, H, W), float32 in [0, 1], and its labels (H, W), int64.

    Parameters
    ----------
    files : sequence of (image path, label path)
    legend : Legend
        What the label files' numbers and colours mean.
    transform : callable, optional
        ``transform(image, rng)``, for what leaves every pixel where it is.
    joint : callable, optional
        ``joint(image, labels, rng)`` returns both changed; it comes first.

    Raises
    ------
    DataError
        If there are no files or one is missing; and, when an example is read, if a
        file is damaged, the sizes differ, or a label is none of the legend's.
    """

    def __init__(
        self,
        files: Sequence[tuple[Pathlike, Pathlike]],
        legend: Legend,
        transform: Transform | None = None,
        joint: JointTransform | None = None,
    ):
        self.files = [(Path(image), Path(labels)) for image, labels in files]
        self.legend, self.transform, self.joint = legend, transform, joint
        if not self.files:
            raise DataError("LabelledImages: there are no files")
        missing = [path for pair in self.files for path in pair if not os.path.isfile(path)]
        if missing:
            raise DataError(
                message(
                    f"LabelledImages: there is no file '{missing[0]}'",
                    f"{len(missing)} of {2 * len(self.files)} files are missing",
                )
            )

    def __len__(self) -> int:
        return len(self.files)

    def example(self, i: int) -> Example:
        image_path, label_path = self.files[i]
        image, labels = read_image(image_path), read_labels(label_path, self.legend)
        if image.shape[1:] != labels.shape:
            raise DataError(
                message(
                    "LabelledImages: an image and its labels differ in size",
                    f"'{image_path}' has (H, W) = {image.shape[1:]}",
                    f"'{label_path}' has (H, W) = {labels.shape}",
                    hint="both are turned as their EXIF blocks ask for, if they have any.",
                )
            )
        return image, labels

    def draw(self, i: int, rng: np.random.Generator) -> Example:
        image, labels = self.example(i)
        if self.joint is not None:
            image, labels = self.joint(image, labels, rng)
        return (image if self.transform is None else self.transform(image, rng)), labels


def read_labels(path: Pathlike, legend: Legend) -> np.ndarray:
    """Read the classes of a label file's pixels, (H, W), int64.

    A grey or palette file holds the classes themselves, whatever its palette looks
    like; an RGB file holds the legend's colours.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing or damaged, or holds a
        number or a colour that the legend does not know.
    """
    name = os.fspath(path)
    with opened_whole("read_labels", path) as image:
        refuse_too_large(
            "read_labels", path, image.width * image.height, MAX_PIXELS,
            "cut it into parts, or save it with less compression.",
        )
        image = unpacked(image)
        if image.mode in ("L", "P", "1"):
            # Checked as the bytes that they are: an eighth of the memory.
            return legend.checked(np.asarray(image), name).astype(np.int64)
        if image.mode in ("RGB", "RGBA"):
            return legend.decoded(np.asarray(image.convert("RGB")), name)
        raise DataError(
            message(
                f"read_labels: {name!r} is neither grey, palette nor RGB",
                f"Pillow calls its pixels {image.mode!r}",
            )
        )


def check_part(who: str, part: str, parts: tuple[str, ...]) -> None:
    """Raise an ArgumentError if a data set has no such part."""
    if part not in parts:
        raise ArgumentError(f"{who}: part is one of {list(parts)}, received {part!r}")


def lines_of(who: str, listing: Path) -> list[str]:
    """The lines of a list of files, without blank ones, and without an editor's byte-order mark."""
    try:
        with open(listing, encoding="utf-8-sig") as file:
            text = file.read(MAX_LIST + 1)
    except FileNotFoundError:
        raise DataError(f"{who}: there is no list '{listing}'") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(f"{who}: '{listing}' is not a list of files: {cause}") from None
    if len(text) > MAX_LIST:
        raise DataError(
            f"{who}: '{listing}' is not a list of files: it has more than {MAX_LIST:,} characters"
        )
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{who}: the list '{listing}' is empty")
    return lines


def paired(who: str, images: Path, labels: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Pairs of files: ``X`` in one folder, ``X<suffix>.png`` in the other."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise DataError(f"{who}: there is no folder '{folder}'")
    found = sorted(
        p for p in images.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".")
    )
    if not found:
        raise DataError(f"{who}: '{images}' has no images in it")
    return [(p, labels / f"{p.stem}{suffix}.png") for p in found]
