"""From disparity to depth: d = f B / (D W / W_net).

Of a rectified pair, what the left view sees at column x_L the right one sees at x_R = x_L - D.
The place is as far away as f B / D: f the focal length in pixels, B the distance of the cameras.
Both f and D are counted in pixels of *some* image width, and it must be the same for the two: a
disparity that a network gives on a grid of W_net columns counts W / W_net pixels of the image that
f was measured in.

Source: Garg, Vijay Kumar, Carneiro & Reid 2016, "Unsupervised CNN for single view depth
estimation: geometry to the rescue", section 2.
"""

from __future__ import annotations

import numpy as np

from minidl.errors import ArgumentError, message

LEAST_DISPARITY = 1e-6
"""Least disparity, in pixels: smaller and negative ones count as it, and are far away."""


def depth_from_disparity(
    disparity: np.ndarray, focal: float, baseline: float, width: int
) -> np.ndarray:
    """Turn disparity into depth, in the baseline's unit: (..., H, W_net) -> (..., H, W_net).

    Parameters
    ----------
    disparity : array, shape (..., H, W_net)
        Pixels of its own grid.
    focal : float
        Focal length, in pixels of an image of ``width`` columns.
    baseline : float
        Distance of the cameras, say in metres.
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
    if not (focal > 0 and baseline > 0 and width > 0):
        raise ArgumentError(
            message(
                "depth_from_disparity: focal, baseline and width must be above 0",
                f"received focal = {focal}, baseline = {baseline}, width = {width}",
            )
        )
    given = np.asarray(disparity)
    depth = focal * baseline * given.shape[-1] / width / np.maximum(given, LEAST_DISPARITY)
    return depth.astype(given.dtype if given.dtype.kind == "f" else np.float64)
