"""Image files, one by one or in a folder per class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from minidl.data.dataset import Dataset, Example, Transform
from minidl.errors import ArgumentError, DataError, message

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Endings of the names of image files."""
MODES = {"RGB": 3, "L": 1}
"""Number of channels of each mode."""

# `catch_warnings` changes what all threads share: two at a time would undo each other.
_opening = Lock()


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image]:
    """Open Pillow's image of a file, without its warning of large ones: readers decide on them."""
    from PIL import Image

    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(path)
    with image:
        yield image


def read_image(
    path: str | os.PathLike[str], mode: str = "RGB", max_pixels: int = 100_000_000
) -> np.ndarray:
    """Read an image file as float32 in [0, 1], (C, H, W).

    Parameters
    ----------
    path : file
    mode : {"RGB", "L"}
        Colour or grey.
    max_pixels : int
        Larger images are refused before they are unpacked. Pillow has a limit of
        its own, about 179 million.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing, damaged or too large, or
        holds 32-bit numbers, whose range no file says.

    Notes
    -----
    16 bits of grey are kept. Transparency is left out.
    """
    from PIL import Image

    if mode not in MODES:
        raise ArgumentError(f"read_image: mode is one of {list(MODES)}, received {mode!r}")
    name = os.fspath(path)
    try:
        with opened(path) as image:
            if image.width * image.height > max_pixels:
                raise DataError(
                    message(
                        f"read_image: {name!r} is too large",
                        f"it has {image.width} x {image.height} pixels, at most "
                        f"{max_pixels:,} are read",
                        hint="raise max_pixels if you trust the file.",
                    )
                )
            return _pixels(image, mode, name)
    except FileNotFoundError:
        raise DataError(f"read_image: there is no file {name!r}") from None
    except Image.DecompressionBombError as cause:
        raise DataError(f"read_image: {name!r} is too large: {cause}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as cause:
        if isinstance(cause, DataError):
            raise
        raise DataError(f"read_image: {name!r} is not a whole image file: {cause}") from None


def _pixels(image: Image, mode: str, name: str) -> np.ndarray:
    image.load()
    # Pillow reads PNG and PPM files of 16 bits as "I"; of other files "I" is 32 bits.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # Pillow's own conversion to 8 bits would make everything above 255 white.
        grey = np.asarray(image).astype(np.float32)
        grey /= 65535
        return np.repeat(grey[None], MODES[mode], axis=0)
    if image.mode in ("I", "F"):
        raise DataError(
            message(
                f"read_image: {name!r} holds 32-bit numbers of unknown range",
                hint="save it with 8 or 16 bits per pixel.",
            )
        )
    image.info.pop("transparency", None)  # Pillow would warn that it is lost
    pixels = np.asarray(image.convert(mode))
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    scaled = np.ascontiguousarray(channels, np.float32)
    scaled /= 255
    return scaled


class ImageFolder(Dataset):
    """Images in one folder per class: ``root/<class>/**/<image>``.

    Parameters
    ----------
    root : folder
    transform : callable, optional
        Applied to each image (C, H, W).
    mode : {"RGB", "L"}

    Attributes
    ----------
    classes : list of str
        The folders' names, sorted; an image's label is its folder's place among them.
        Hidden folders and files, whose names start with a dot, are passed over.
    files : list of (Path, int)

    Raises
    ------
    DataError
        If there are no folders, or one has no images.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        mode: str = "RGB",
    ):
        folder = Path(root)
        if not folder.is_dir():
            raise DataError(f"ImageFolder: there is no folder '{folder}'")
        self.root, self.transform, self.mode = folder, transform, mode
        self.classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and _shown(p))
        if not self.classes:
            raise DataError(
                message(
                    f"ImageFolder: '{folder}' has no folders in it",
                    hint="put the images of each class into a folder of its name.",
                )
            )
        self.files: list[tuple[Path, int]] = []
        for label, name in enumerate(self.classes):
            inside = sorted(
                p
                for p in (folder / name).rglob("*")
                if p.suffix.lower() in ENDINGS and _shown(p) and p.is_file()
            )
            if not inside:
                raise DataError(
                    message(
                        f"ImageFolder: '{folder / name}' has no images in it",
                        hint=f"an image's name ends in one of {', '.join(ENDINGS)}.",
                    )
                )
            self.files += [(p, label) for p in inside]

    def __len__(self) -> int:
        return len(self.files)

    def example(self, i: int) -> Example:
        path, label = self.files[i]
        return read_image(path, self.mode), label


def _shown(path: Path) -> bool:
    return not path.name.startswith(".")
