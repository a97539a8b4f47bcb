"""ISBI 2012: membranes of a fly's nerve cord, in stacks of TIFF pages.

Source: Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms
for connectomics". From memory: the names of its files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minidl.data.dataset import ArrayDataset
from minidl.data.images import opened_whole, refuse_too_large, unpacked
from minidl.data.readers import labelled
from minidl.data.readers.labelled import check_part
from minidl.errors import DataError, message
from minidl.files.whole import Pathlike

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PAGES = 4096
"""Most pages of a TIFF file that are read."""


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
    check_part("isbi2012", part, ("train", "test"))
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
    cell = 1 if labels.max() == 1 else 255  # as some copies have them
    others = np.setdiff1d(labels, [0, cell])
    if others.size:
        raise DataError(
            message(
                f"isbi2012: '{path}' holds the label {others[0]}",
                "membranes are 0, and cells all 255, or all 1",
            )
        )
    return ArrayDataset(images, (labels == cell).astype(np.int64))


def read_stack(path: Pathlike) -> np.ndarray:
    """Read the pages of a grey TIFF file, (N, H, W), uint8 or uint16; one bit becomes 0 and 255.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing, damaged or too large, or its
        pages differ in size.
    """
    name = os.fspath(path)
    pages: list[np.ndarray] = []
    with opened_whole("read_stack", path) as image:
        while _turned(image, len(pages)):
            # Page by page: what a file says of its length is not to be relied on.
            refuse_too_large(
                "read_stack", path, image.width * image.height * (len(pages) + 1),
                labelled.MAX_PIXELS, "cut it into parts.",
            )
            if len(pages) == MAX_PAGES:
                raise DataError(
                    message(
                        f"read_stack: {name!r} has more than {MAX_PAGES} pages",
                        hint="cut it into parts.",
                    )
                )
            page = np.asarray(unpacked(image))
            if image.mode == "1":
                page = page.astype(np.uint8) * np.uint8(255)
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
