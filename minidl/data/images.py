"""Image files, one by one or in a folder per class: upright, and within bounds.

Whoever reads an image file in minidl opens it by ``opened`` or ``opened_whole``, asks
``refuse_too_large`` before anything is unpacked, and unpacks it by ``unpacked``, which turns it
as its EXIF block asks for. So a picture is upright, once, whatever its format and its reader.
"""

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
from minidl.errors import ArgumentError, DataError, MinidlError, message

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Endings of the names of image files."""
MODES = {"RGB": 3, "L": 1}
"""Number of channels of each mode."""
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Names of the formats that are read. Pillow knows more: for EPS it starts another program."""
ORIENTATION = 0x0112
"""EXIF's tag of a picture's orientation."""
MAX_PIXELS = 100_000_000
"""Largest number of pixels of an image that is read, unless the caller says otherwise."""
SMALL = 2**25
"""Number of pixels up to which an image's file may be of any size."""
PIXELS_PER_BYTE = 100
"""Most pixels for each byte of the file of an image that is not small. Photographs have less than
ten, and a file made to fill the memory has a thousand."""

# `catch_warnings` changes what all threads share: two at a time would undo each other.
_opening = Lock()


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image]:
    """Open Pillow's image of a file, without its warning of large ones: readers decide on them."""
    from PIL import Image

    # From a name Pillow would map the file into memory, where it mixes up the rows of a turned
    # TIFF image (13.0), and where a file that becomes shorter meanwhile ends the program.
    with open(path, "rb") as file:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file, formats=FORMATS)
        with image:
            yield image


@contextmanager
def opened_whole(who: str, path: str | os.PathLike[str]) -> Iterator[Image]:
    """Open Pillow's image of a file; an error of Pillow's becomes one that names the file."""
    from PIL import Image

    name = os.fspath(path)
    try:
        with opened(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{who}: there is no file {name!r}") from None
    except Image.DecompressionBombError as cause:
        raise DataError(f"{who}: {name!r} is too large: {cause}") from None
    except MinidlError:
        raise
    except Image.UnidentifiedImageError:
        raise DataError(
            message(
                f"{who}: {name!r} is not a whole image file",
                f"its first bytes are none of {', '.join(FORMATS)}",
                hint="copy or download it again, or save it as PNG.",
            )
        ) from None
    except Exception as cause:  # Pillow's decoders raise nearly every kind
        raise DataError(
            message(
                f"{who}: {name!r} is not a whole image file: {str(cause) or type(cause).__name__}",
                hint="copy or download it again.",
            )
        ) from None


def refuse_too_large(
    who: str, path: str | os.PathLike[str], pixels: int, most: int, hint: str = "",
    dense: bool = True,
) -> None:
    """Raise a DataError if a file has more pixels than are read, or than so few bytes can hold.

    Parameters
    ----------
    who : str
    path : file
    pixels : int
        Its number of pixels, all pages together.
    most : int
        Largest number that is read.
    hint : str
        What would mend it.
    dense : bool
        Whether a large image is refused, too, if its file is far too small for it.
    """
    if pixels > most:
        reason = f"it has {pixels:,} pixels or more, at most {most:,} are read"
    elif dense and pixels > max(SMALL, PIXELS_PER_BYTE * os.path.getsize(path)):
        reason = f"it has {pixels:,} pixels in {os.path.getsize(path):,} bytes"
    else:
        return
    raise DataError(message(f"{who}: {os.fspath(path)!r} is too large", reason, hint=hint))


def unpacked(image: Image) -> Image:
    """Unpack an image's pixels, and turn them upright, as its EXIF block asks for."""
    from PIL.Image import Transpose

    image.load()
    turns = (
        None, Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM,
        Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90,
    )
    turn = turns[_orientation(image) - 1]
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image) -> int:
    """Read how an unpacked image lies; 1, upright, if it does not say so or the block is damaged.

    Pillow itself turns TIFF images while it unpacks them, and no others.
    """
    if image.format == "TIFF":
        return 1
    try:
        found = image.getexif().get(ORIENTATION)
    except Exception:  # what Pillow raises on a damaged block is not documented
        return 1
    return found if isinstance(found, int) and found in range(1, 9) else 1


def read_image(
    path: str | os.PathLike[str], mode: str = "RGB", max_pixels: int | None = None
) -> np.ndarray:
    """Read an image file as float32 in [0, 1], (C, H, W), upright.

    Parameters
    ----------
    path : file
        PNG, JPEG, BMP, GIF, TIFF, WebP or PPM, whatever its name ends in.
    mode : {"RGB", "L"}
        Colour or grey.
    max_pixels : int, optional
        Larger images are refused before they are unpacked; a hundred million by default,
        and less if so few bytes cannot hold so many pixels. Pillow has a limit of its
        own, about 179 million.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing, damaged or too large, or
        holds 32-bit numbers, whose range no file says.

    Notes
    -----
    16 bits of grey are kept. Transparency is left out. A picture is turned as its EXIF block
    asks for.
    """
    if mode not in MODES:
        raise ArgumentError(f"read_image: mode is one of {list(MODES)}, received {mode!r}")
    with opened_whole("read_image", path) as image:
        refuse_too_large(
            "read_image", path, image.width * image.height,
            MAX_PIXELS if max_pixels is None else max_pixels,
            "raise max_pixels if you trust the file.", dense=max_pixels is None,
        )
        return _pixels(unpacked(image), image.format, mode, os.fspath(path))


def _pixels(image: Image, kind: str | None, mode: str, name: str) -> np.ndarray:
    # Pillow reads PNG and PPM files of 16 bits as "I"; of other files "I" is 32 bits.
    if image.mode.startswith("I;16") or (image.mode == "I" and kind in ("PNG", "PPM")):
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
