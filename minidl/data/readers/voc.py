"""PASCAL VOC 2012: photographs with the outlines of 20 kinds of things.

Source: Everingham et al. 2015, "The PASCAL visual object classes challenge: a retrospective". From
memory: how many images there are.
"""

from __future__ import annotations

from os.path import isfile
from pathlib import Path

from minidl.data.dataset import JointTransform, Transform
from minidl.data.readers.labelled import LabelledImages, lines_of
from minidl.data.readers.legend import VOC
from minidl.errors import DataError, message
from minidl.files.whole import Pathlike

FOLDERS = ("SegmentationClass", "SegmentationClassAug")
"""The folders of the labels: VOC's own, and those of Hariharan et al. 2011 in VOC's colours."""
MARKS = ("1", "0", "-1")
"""What may stand behind a name in the lists of one class: it is there, is hard to see, is not."""


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
        The name of a list in ``ImageSets/Segmentation``: train, val, trainval; or trainaug,
        whose labels lie in ``SegmentationClassAug``. A line is a name, a name and a mark (1: the
        list's class is there; images with -1 are left out), or the paths of image and labels.
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
        words = line.split()
        if len(words) == 2 and all(word.startswith("/") for word in words):
            pair = [folder / word.lstrip("/") for word in words]
            if not any(".." in path.parts for path in pair):
                files.append((pair[0], pair[1]))
                continue
        name, mark = words[0], words[1] if len(words) == 2 else "1"
        if len(words) > 2 or mark not in MARKS or not name.replace("_", "").isalnum():
            raise DataError(
                message(
                    f"voc2012: line {number} of '{listing}' is not an image's name",
                    f"received {line[:100]!r}",
                    hint="a line reads like 2007_000032, or 2007_000032 1, or "
                    "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png",
                )
            )
        if mark != "-1":
            files.append((folder / "JPEGImages" / f"{name}.jpg", _labels(folder, name)))
    if not files:
        raise DataError(f"voc2012: of the list '{listing}' every line ends in -1")
    return LabelledImages(files, VOC, transform, joint)


def _labels(folder: Path, name: str) -> Path:
    """The labels of an image: VOC's own, or else those that were added to them."""
    own, added = (folder / place / f"{name}.png" for place in FOLDERS)
    return added if isfile(added) and not isfile(own) else own  # which long names do not stop
