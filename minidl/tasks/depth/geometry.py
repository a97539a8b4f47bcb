"""From disparity to depth and back: d = f B / (D W / W_net).

Of a rectified pair, what the left view sees at column x_L the right one sees at x_R = x_L - D.
The place is as far away as f B / D: f the focal length in pixels, B the distance of the cameras.
Both f and D are counted in pixels of *some* image width, and it must be the same for the two: a
disparity that a network gives on a grid of W_net columns counts W / W_net pixels of the image that
f was measured in.

Source: Garg, Vijay Kumar, Carneiro & Reid 2016, "Unsupervised CNN for single view depth
estimation: geometry to the rescue", section 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import ArgumentError, message

LEAST = 1e-6
"""Smaller disparities, and those below 0, are taken for this: their depth is "far"."""


def depth_from_disparity(
    disparity: np.ndarray, focal: float, baseline: float, width: int
) -> np.ndarray:
    """Metres, if the baseline is in metres: (..., H, W_net) -> (..., H, W_net).

    Parameters
    ----------
    disparity : array, shape (..., H, W_net)
        In pixels of its own grid.
    focal : float
        In pixels of an image of ``width`` columns.
    baseline : float
    width : int
        W, the columns of the image that ``focal`` belongs to.

    Raises
    ------
    ArgumentError
        If focal, baseline or width is not above 0.

    Examples
    --------
    A grid of half the columns sees half of the disparity, and the same depth:

    >>> float(depth_from_disparity(np.full((1, 4), 6.0), 60.0, 0.5, 4).max())
    5.0
    >>> float(depth_from_disparity(np.full((1, 2), 3.0), 60.0, 0.5, 4).max())
    5.0
    """
    return _divided("depth_from_disparity", disparity, focal, baseline, width)


def disparity_from_depth(
    depth: np.ndarray, focal: float, baseline: float, width: int
) -> np.ndarray:
    """The inverse, on a grid of as many columns as ``depth`` has: (..., H, W_net) -> the same.

    Parameters and errors as for ``depth_from_disparity``.
    """
    return _divided("disparity_from_depth", depth, focal, baseline, width)


def _divided(who: str, x: Any, focal: float, baseline: float, width: int) -> np.ndarray:
    if not (focal > 0 and baseline > 0 and width > 0):
        raise ArgumentError(
            message(
                f"{who}: focal, baseline and width must be above 0",
                f"received focal = {focal}, baseline = {baseline}, width = {width}",
            )
        )
    x = np.asarray(x)
    scale = focal * baseline * x.shape[-1] / width
    return (scale / np.maximum(x, LEAST)).astype(x.dtype if x.dtype.kind == "f" else np.float64)
