"""A user's picture in and out: as it is meant to be seen, and without loss on the way.

What a photograph's file says besides its pixels is kept: transparency, and the colour profile.
Which side is up, too: ``read_image`` turns every picture upright.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.data.images import opened_whole, read_image, unpacked
from minidl.errors import ArgumentError, DataError, message
from minidl.files.whole import replacing

OPAQUE_ENDINGS = (".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")
"""The endings of files that cannot be transparent."""

ENDINGS = (*OPAQUE_ENDINGS, ".png", ".tif", ".tiff", ".webp")
"""The endings of files that can be written."""


class Picture(NamedTuple):
    """A picture, its numbers float32 from 0 to 1."""

    colours: np.ndarray
    """RGB, shape (3, H, W), or grey, shape (1, H, W)."""
    alpha: np.ndarray | None
    """Opacity, shape (H, W), 0 where nothing is to be seen; None if all is opaque."""
    profile: bytes | None
    """The ICC colour profile, if the file has one."""


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read an image file, upright, with its transparency and its colour profile.

    Raises
    ------
    DataError
        Naming the file and the reason, if it is missing, or no whole image.
    """
    colours = read_image(path)  # refuses what is no image, or too large
    with opened_whole("read_picture", path) as image:
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
        kept = image.mode in ("L", "LA", "RGB", "RGBA", "P", "PA")
        profile = image.info.get("icc_profile") if kept else None
        alpha = None
        clear = image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        if clear and not image.mode.startswith("I"):
            alpha = np.asarray(unpacked(image).convert("RGBA"))[..., 3].astype(np.float32) / 255
    return Picture(colours[:1] if grey else colours, alpha, profile)


def check_target(out: Path, picture: Picture, source: Path) -> None:
    """Refuse, before anything is computed, a file that could not be written in the end.

    Raises
    ------
    ArgumentError
        If its folder is missing or closed, its ending unknown, or it is the source itself.
    """
    reason = hint = ""
    if not out.parent.is_dir():
        reason, hint = f"there is no folder '{out.parent}'", "make it first."
    elif out.is_dir():
        reason, hint = "it is a folder", "name a file."
    elif not os.access(out.parent, os.W_OK):
        reason = f"the folder '{out.parent}' cannot be written to"
    elif out.suffix.lower() not in ENDINGS:
        reason, hint = f"unknown ending {out.suffix!r}", f"choose one of {', '.join(ENDINGS)}."
    elif out.suffix.lower() in (".pgm",) and len(picture.colours) == 3:
        reason, hint = "a .pgm file has no colours", "write a .png file."
    elif picture.alpha is not None and out.suffix.lower() in OPAQUE_ENDINGS:
        reason = f"the picture is transparent in places, which {out.suffix} files cannot be"
        hint = "write a .png file."
    elif out.exists() and out.samefile(source):
        reason, hint = "this is the picture itself", "choose another name."
    if reason:
        raise ArgumentError(message(f"cannot write '{out}'", reason, hint=hint))


def write_picture(out: Path, picture: Picture) -> None:
    """Write a picture of 8 bits a channel, whole or not at all; replace an older file.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    import PIL.Image

    layers = list(picture.colours) + ([] if picture.alpha is None else [picture.alpha])
    pixels = np.floor(np.clip(np.stack(layers, -1), 0, 1) * 255 + 0.5).astype(np.uint8)
    image = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    PIL.Image.init()
    kind = PIL.Image.EXTENSION[out.suffix.lower()]
    options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    if picture.profile and kind in ("PNG", "JPEG", "TIFF", "WEBP"):
        options["icc_profile"] = picture.profile
    try:
        with replacing(out) as temporary:
            image.save(temporary, kind, **options)
    except OSError as cause:
        raise DataError(f"cannot write '{out}': {cause}") from None
