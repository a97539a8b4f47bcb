"""Pictures made ready for losses on features: RGB from 0 to 1, square, in another's colours."""

from __future__ import annotations

import numpy as np

from minidl.errors import import_extra
from minidl.tasks.restoration.imresize import imresize


def rgb(image: np.ndarray) -> np.ndarray:
    """Bytes (1 or 3, H, W) as (3, H, W) float32 from 0 to 1."""
    return np.broadcast_to(image, (3, *image.shape[1:])).astype(np.float32) / 255


def middle_square(image: np.ndarray, share: float = 1.0) -> np.ndarray:
    """The middle of an image (C, H, W): a square of this share of its shorter side."""
    side = round(share * min(image.shape[1:]))
    top, left = ((n - side) // 2 for n in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture from 0 to 1 of another size (H, W), by ``imresize``, clipped to that range."""
    return np.clip(imresize(picture, size=size), 0, 1).astype(np.float32)


def recoloured(picture: np.ndarray, style: np.ndarray) -> np.ndarray:
    """A picture whose every channel has the histogram of the style's, (3, H, W): no network asked.

    Raises
    ------
    MissingExtraError
        If scikit-image is not installed.
    """
    exposure = import_extra("skimage.exposure", "data", "recoloured")
    return np.asarray(exposure.match_histograms(picture, style, channel_axis=0), np.float32)
