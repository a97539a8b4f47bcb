"""A real rectified pair with measured disparities: a motorcycle in a workshop, of Middlebury.

Source: Scharstein, Hirschmüller, Kitajima, Krathwohl, Nešić, Wang & Westling 2014,
"High-resolution stereo datasets with subpixel-accurate ground truth"; it comes with
scikit-image, a quarter as large as published, with the numbers of its calibration.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.errors import DataError, message

FOCAL = 994.978
"""Pixels, of the image of 741 columns."""
BASELINE = 0.193001
"""Metres."""
SHIFT = 31.086
"""The right camera's image centre lies so many pixels further right than the left one's: depth is
f B / (D + SHIFT)."""


class StereoPair(NamedTuple):
    """One pair and its truth, from the left view."""

    left: np.ndarray
    """(3, H, W), float32 in [0, 1]."""
    right: np.ndarray
    disparity: np.ndarray
    """(H, W), float32, in pixels: x_R = x_L - D. NaN where nobody knows."""


def motorcycle(shrink: int = 1) -> StereoPair:
    """The pair, 500x741, with disparities of 7 to 60 pixels; or ``shrink`` times smaller.

    Parameters
    ----------
    shrink : int
        Averages over so many pixels a side; what is left over at the right and at the bottom is
        cut off. A disparity is the mean of the known ones, in pixels of the smaller grid.

    Raises
    ------
    DataError
        If scikit-image is missing, or cannot find the pair.
    """
    try:
        from skimage.data import stereo_motorcycle
    except ImportError:
        raise DataError(
            message("motorcycle: the pair comes with scikit-image",
                    hint="pip install 'minidl[data]'.")
        ) from None
    try:
        left, right, disparity = stereo_motorcycle()
    except Exception as cause:  # it is downloaded if it is not there; that fails in many ways
        raise DataError(
            message(
                f"motorcycle: scikit-image cannot read the pair: {cause}",
                hint="it fetches the files once, which takes pooch and a network.",
            )
        ) from None
    views = [np.asarray(x, np.float32).transpose(2, 0, 1) / 255 for x in (left, right)]
    known = np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float32)
    views = [_blocks(x, shrink).mean((-3, -1)) for x in views]
    blocks = _blocks(known, shrink)
    counted = np.isfinite(blocks).sum((-3, -1))
    total = np.nansum(blocks, (-3, -1))
    mean = np.where(counted > 0, total / np.maximum(counted, 1) / shrink, np.nan)
    return StereoPair(views[0], views[1], mean.astype(np.float32))


def _blocks(x: np.ndarray, side: int) -> np.ndarray:
    """(..., H, W) -> (..., H / side, side, W / side, side)."""
    h, w = (size // side for size in x.shape[-2:])
    cut = x[..., : h * side, : w * side]
    return cut.reshape(*x.shape[:-2], h, side, w, side)
