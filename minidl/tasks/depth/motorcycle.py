"""A real rectified pair with measured disparities: a motorcycle in a workshop, of Middlebury.

Source: Scharstein, Hirschmüller, Kitajima, Krathwohl, Nešić, Wang & Westling 2014,
"High-resolution stereo datasets with subpixel-accurate ground truth"; it comes with
scikit-image, a quarter as large as published. The calibration that comes with it (f = 994.978
pixels, B = 0.193001 m, and the right camera's image centre 31.086 pixels further right) gives the
depth f B / (D + 31.086).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.errors import DataError, message


class StereoPair(NamedTuple):
    """A rectified pair, and the left view's disparity as far as it is known."""

    left: np.ndarray
    """The left view, (3, H, W), float32 in [0, 1]."""
    right: np.ndarray
    """The right view, (3, H, W), float32 in [0, 1]."""
    disparity: np.ndarray
    """D, (H, W), float32, in pixels: x_R = x_L - D; NaN where it is unknown."""


def motorcycle(shrink: int = 1) -> StereoPair:
    """Load the pair, 500x741, with disparities of 7 to 60 pixels; or ``shrink`` times smaller.

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
    """Cut into blocks: (..., H, W) -> (..., H / side, side, W / side, side)."""
    h, w = (size // side for size in x.shape[-2:])
    cut = x[..., : h * side, : w * side]
    return cut.reshape(*x.shape[:-2], h, side, w, side)
