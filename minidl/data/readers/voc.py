"""PASCAL VOC 2012: photographs with the outlines of 20 kinds of things.

Source: Everingham et al. 2015, "The PASCAL visual object classes challenge: a retrospective". From
memory: how many images there are.
"""

from __future__ import annotations

from pathlib import Path

from minidl.data.dataset import JointTransform, Transform
from minidl.data.readers.labelled import LabelledImages, lines_of
from minidl.data.readers.legend import VOC
from minidl.errors import DataError, message
from minidl.files.whole import Pathlike


def voc2012(
    root: Pathlike,
    part: str = "train",
    transform: Transform | None = None,
    joint: JointTransform | None = None,
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
    for number, line in enumerate(lines_of("voc2012", listing), 1):
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
