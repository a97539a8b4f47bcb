"""Pictures made ready for losses on features: RGB from 0 to 1, in size, colours and as a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import Tensor
from minidl.compute.arrays import to_device
from minidl.errors import ArgumentError, ShapeError, import_extra, message
from minidl.tasks.restoration.imresize import imresize


def rgb(image: np.ndarray) -> np.ndarray:
    """Turn bytes, grey or RGB (1 or 3, H, W), into RGB (3, H, W), float32 from 0 to 1."""
    return np.broadcast_to(image, (3, *image.shape[1:])).astype(np.float32) / 255


def middle_square(image: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The middle of an image (C, H, W): a square of this share of its shorter side."""
    side = round(share * min(image.shape[1:]))
    top, left = ((n - side) // 2 for n in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a picture from 0 to 1 to (H, W) by ``imresize``, clipped to that range."""
    return np.clip(imresize(picture, size=size), 0, 1).astype(np.float32)


def recoloured(picture: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Give each channel of a picture (3, H, W) the histogram of the style's: no network needed.

    Raises
    ------
    MissingExtraError
        If scikit-image is not installed.
    """
    exposure = import_extra("skimage.exposure", "data", "recoloured")
    return np.asarray(exposure.match_histograms(picture, style, channel_axis=0), np.float32)


def as_batch(who: str, picture: Any, device: str) -> Tensor:
    """Turn a picture (3, H, W), RGB from 0 to 1, into a batch (1, 3, H, W) of float32.

    Raises
    ------
    ShapeError
        If it has other axes.
    ArgumentError
        If its values are not from 0 to 1, as those of a picture of bytes.
    """
    array = np.asarray(picture)
    if array.ndim != 3 or array.shape[0] != 3 or not array.size:
        raise ShapeError(
            message(
                f"{who}: a picture must be RGB with the axes (3, H, W)",
                f"received shape {array.shape}",
            )
        )
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind != "f" or not (low >= 0 and high <= 1):
        raise ArgumentError(
            message(
                f"{who}: pixels must be floats from 0 to 1",
                f"received {array.dtype} from {low:g} to {high:g}",
                hint="divide bytes by 255, or clip.",
            )
        )
    return Tensor(to_device(array[None].astype(np.float32), device))
