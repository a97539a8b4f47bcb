"""Images with a class for every pixel: pairs of files, and what their readers share.

    data set    images                     labels                             ignored
    CamVid      RGB, 480x360, PNG          indices 0..10, grey PNG            11
      original  RGB, 960x720, PNG          32 colours, RGB PNG                -> 11
    VOC 2012    RGB, any size, JPEG        indices 0..20, palette PNG         255
    ISBI 2012   grey, 512x512, TIFF stack  0 membrane, 255 cell, TIFF stack   -
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minidl.data.dataset import Dataset, Example, JointTransform, Transform
from minidl.data.images import ENDINGS, opened, read_image
from minidl.data.readers.legend import Legend
from minidl.errors import ArgumentError, DataError, message
from minidl.files.whole import Pathlike

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 500_000_000
"""Largest number of pixels of a file, all pages together, that is read."""


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
        missing = [path for pair in self.files for path in pair if not path.is_file()]
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
        refuse_too_large("read_labels", name, image.width * image.height)
        if image.mode in ("L", "P", "1"):
            return legend.checked(np.asarray(image).astype(np.int64), name)
        if image.mode in ("RGB", "RGBA"):
            return legend.decoded(np.asarray(image.convert("RGB")), name)
        raise DataError(
            message(
                f"read_labels: {name!r} is neither grey, palette nor RGB",
                f"Pillow calls its pixels {image.mode!r}",
            )
        )


@contextmanager
def opened_whole(who: str, path: Pathlike) -> Iterator[Image]:
    """Open Pillow's image of a file; an error of Pillow's becomes one that names the file."""
    name = os.fspath(path)
    try:
        with opened(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{who}: there is no file {name!r}") from None
    except DataError:
        raise
    except Exception as cause:  # Pillow's decoders raise nearly every kind
        raise DataError(
            message(
                f"{who}: {name!r} is not a whole image file: {cause}",
                hint="copy or download it again.",
            )
        ) from None


def refuse_too_large(who: str, name: str, pixels: int) -> None:
    """Raise a DataError if a file has more pixels than MAX_PIXELS."""
    if pixels > MAX_PIXELS:
        raise DataError(
            message(
                f"{who}: {name!r} is too large",
                f"it has {pixels:,} pixels or more, at most {MAX_PIXELS:,} are read",
            )
        )


def check_part(who: str, part: str, parts: tuple[str, ...]) -> None:
    """Raise an ArgumentError if a data set has no such part."""
    if part not in parts:
        raise ArgumentError(f"{who}: part is one of {list(parts)}, received {part!r}")


def lines_of(who: str, listing: Path) -> list[str]:
    """The lines of a list of files, without blank ones."""
    try:
        text = listing.read_text("utf-8")
    except FileNotFoundError:
        raise DataError(f"{who}: there is no list '{listing}'") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise DataError(f"{who}: '{listing}' is not a list of files: {cause}") from None
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
