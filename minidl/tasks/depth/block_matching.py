"""Block matching: for each pixel, the shift at which the windows of the two views agree best.

Sees both views, learns nothing, and knows nothing of what lies beyond its window: what any network
for depth is to be compared with. For each shift d of the range

    cost(x, d) = mean over the window of |I_L(x) - I_R(x - d)|          ("sad")
               = 1 - the correlation of the two windows                 ("ncc")

is one box filter over the whole image, whatever the window's size: a running sum along each axis.
The cheapest shift wins, refined to a fraction of a pixel by a parabola through its two neighbours.
A pixel is trusted if the right view, matched to the left one, comes back to it within a pixel;
others (mostly hidden ones) take the smaller of the nearest trusted disparities along the row: what
is hidden lies behind.

Source: Scharstein & Szeliski 2002, "A taxonomy and evaluation of dense two-frame stereo
correspondence algorithms", section 3.
"""

from __future__ import annotations

import numpy as np

from minidl.errors import ArgumentError, ShapeError, message

COSTS = ("sad", "ncc")
VARIANCE_FLOOR = 1e-6
"""Addend to the variances of "ncc", so that flat windows correlate with nothing."""


def block_matching(
    left: np.ndarray,
    right: np.ndarray,
    largest: int,
    window: int = 7,
    cost: str = "sad",
    tolerance: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Match blocks: the left view's disparity, and a mask of where it is trusted.

    (C, H, W), (C, H, W) -> (H, W) float32, (H, W) bool

    Parameters
    ----------
    left, right : array, shape (C, H, W)
    largest : int
        Shifts 0 ... largest are tried.
    window : int
        Pixels a side, odd.
    cost : {"sad", "ncc"}
    tolerance : float
        Pixels by which the way there and back may miss.

    Raises
    ------
    ShapeError
        If the views are not (C, H, W) of one shape.
    ArgumentError
        If a setting makes no sense.
    """
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    if left.ndim != 3 or left.shape != right.shape:
        raise ShapeError(
            message(
                "block_matching: the views must be (C, H, W), of one shape",
                f"received {left.shape} and {right.shape}",
            )
        )
    w = left.shape[2]
    if not 0 <= largest < w or window < 1 or window % 2 == 0 or cost not in COSTS:
        raise ArgumentError(
            message(
                "block_matching: largest is 0 to W - 1, window odd, "
                f"cost one of {COSTS}",
                f"received largest = {largest}, window = {window}, cost = {cost!r}; W = {w}",
            )
        )
    costs = cost_volume(left, right, largest, window, cost)
    disparity = cheapest(costs)
    # The same costs, seen from the right view: its column x met the left one's x + d.
    back = np.full_like(costs, np.inf)
    for d, plane in enumerate(costs):
        back[d, :, : w - d] = plane[:, d:]
    returned = cheapest(back)
    there = np.clip(np.rint(np.arange(w) - disparity).astype(np.int64), 0, w - 1)
    trusted = np.abs(np.take_along_axis(returned, there, 1) - disparity) <= tolerance
    return filled(disparity, trusted), trusted


def cost_volume(
    left: np.ndarray, right: np.ndarray, largest: int, window: int, cost: str
) -> np.ndarray:
    """The cost of each shift, (largest + 1, H, W); infinite where it leaves the right view."""
    _, h, w = left.shape
    costs = np.full((largest + 1, h, w), np.inf, np.float32)
    for d in range(largest + 1):
        near, far = left[:, :, d:], right[:, :, : w - d]
        if cost == "sad":
            costs[d, :, d:] = box_mean(np.abs(near - far).mean(0), window)
        else:
            costs[d, :, d:] = 1 - _correlation(near, far, window)
    return costs


def box_mean(x: np.ndarray, window: int) -> np.ndarray:
    """The mean over a window around each pixel, cut off at the border: (..., H, W) -> the same."""
    for axis in (-2, -1):
        x = _box_sum(x, window, axis) / _box_sum(np.ones(x.shape[axis]), window, -1).reshape(
            (-1, 1) if axis == -2 else (-1,)
        )
    return x.astype(np.float32)


def _box_sum(x: np.ndarray, window: int, axis: int) -> np.ndarray:
    """Sum over a window along one axis: a running sum minus itself, a window further back."""
    size, half = x.shape[axis], window // 2
    total = np.cumsum(x, axis, np.float64)
    total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis)
    ends = np.minimum(np.arange(size) + half + 1, size)
    return np.take(total, ends, axis) - np.take(total, np.maximum(np.arange(size) - half, 0), axis)


def _correlation(a: np.ndarray, b: np.ndarray, window: int) -> np.ndarray:
    """The correlation of the windows around each pixel: (C, H, W) twice -> (H, W)."""

    def mean(x: np.ndarray) -> np.ndarray:
        return box_mean(x.mean(0), window)

    mean_a, mean_b = mean(a), mean(b)
    covariance = mean(a * b) - mean_a * mean_b
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    variances = (variance_a + VARIANCE_FLOOR) * (variance_b + VARIANCE_FLOOR)
    return covariance / np.sqrt(np.maximum(variances, VARIANCE_FLOOR**2))


def cheapest(costs: np.ndarray) -> np.ndarray:
    """The shift of least cost, to a fraction of a pixel: (D, H, W) -> (H, W) float32.

    >>> float(cheapest(np.array([9.0, 1.0, 0.0, 1.0, 9.0]).reshape(5, 1, 1))[0, 0])
    2.0
    """
    best = costs.argmin(0)
    inner = np.clip(best, 1, max(len(costs) - 2, 1))
    if len(costs) < 3:
        return best.astype(np.float32)
    before, here, after = (
        np.take_along_axis(costs, (inner + step)[None], 0)[0] for step in (-1, 0, 1)
    )
    with np.errstate(invalid="ignore"):
        bend = before - 2 * here + after
        shift = 0.5 * (before - after) / np.where(bend > 0, bend, 1)
    usable = (best == inner) & np.isfinite(bend) & (bend > 0)
    return (best + np.where(usable, np.clip(shift, -0.5, 0.5), 0)).astype(np.float32)


def filled(disparity: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """Fill untrusted pixels with the smaller of the nearest trusted ones left and right.

    >>> filled(np.array([[5.0, 0, 0, 2.0]]), np.array([[True, False, False, True]])).tolist()
    [[5.0, 2.0, 2.0, 2.0]]
    """
    w = disparity.shape[1]
    columns = np.arange(w)
    before = np.maximum.accumulate(np.where(trusted, columns, -1), 1)
    after = np.minimum.accumulate(np.where(trusted, columns, w)[:, ::-1], 1)[:, ::-1]
    padded = np.pad(disparity, ((0, 0), (0, 1)), constant_values=np.inf)  # read at -1 and at w
    nearest = np.minimum(
        np.take_along_axis(padded, before, 1), np.take_along_axis(padded, after, 1)
    )
    kept = trusted | ~np.isfinite(nearest)
    return np.where(kept, disparity, nearest).astype(disparity.dtype)
