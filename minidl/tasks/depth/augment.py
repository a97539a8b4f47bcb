"""Changing a rectified pair so that it stays one.

Whatever moves pixels must move both views alike, rows must stay rows, and the right view must
stay the right one: in a mirror the two cameras change places, so the mirrored *right* view becomes
the left one. Without that swap all disparities would turn negative.

Source: Garg et al. 2016, section 3 (from memory: colours times 0.9 .. 1.1 per channel, enlarged by
1 .. 1.6 and cut out, mirrored).
"""

from __future__ import annotations

import numpy as np

import minidl.functional as F
from minidl.autograd import no_grad
from minidl.errors import ArgumentError, message

Pair = tuple[np.ndarray, np.ndarray]
"""The left and the right view."""


def mirrored(left: np.ndarray, right: np.ndarray) -> Pair:
    """The pair as two cameras see it in a mirror: (..., H, W) twice -> the same.

    >>> mirrored(np.array([[1, 2, 3]]), np.array([[2, 3, 4]]))
    (array([[4, 3, 2]]), array([[3, 2, 1]]))
    """
    return np.ascontiguousarray(right[..., ::-1]), np.ascontiguousarray(left[..., ::-1])


class ResizedPair:
    """A change of a pair, ``change(left, right, rng)``: both views in one size, varied at random.

    (C, H, W), (C, H, W) -> (C, I, J), (C, I, J)

    Parameters
    ----------
    size : (I, J)
    zoom : float
        Views are enlarged by 1 to ``zoom`` and a window is cut out, the same of both. (A net
        then sees things nearer and disparities larger, as with another lens.)
    colour : float
        Each channel is multiplied by 1 - colour to 1 + colour, the same in both views.
    mirror : bool
        Whether every second pair, by chance, is mirrored.

    Raises
    ------
    ArgumentError
        If a setting makes no sense.
    """

    def __init__(
        self, size: tuple[int, int], zoom: float = 1.0, colour: float = 0.0, mirror: bool = False
    ):
        if min(size) < 1 or zoom < 1 or not 0 <= colour < 1:
            raise ArgumentError(
                message(
                    "ResizedPair: size is at least (1, 1), zoom at least 1, 0 <= colour < 1",
                    f"received size = {size}, zoom = {zoom}, colour = {colour}",
                )
            )
        self.size, self.zoom, self.colour, self.mirror = size, zoom, colour, mirror

    def __call__(self, left: np.ndarray, right: np.ndarray, rng: np.random.Generator) -> Pair:
        h, w = left.shape[-2:]
        share = 1 / rng.uniform(1, self.zoom)
        rows, columns = max(round(share * h), 1), max(round(share * w), 1)
        top, start = rng.integers(h - rows + 1), rng.integers(w - columns + 1)
        both = np.stack([left, right])[..., top : top + rows, start : start + columns]
        with no_grad():
            both = F.interpolate(
                np.ascontiguousarray(both), self.size, mode="bilinear", antialias=True
            ).data
        gain = rng.uniform(1 - self.colour, 1 + self.colour, (1, both.shape[1], 1, 1))
        both = np.clip(both * gain, 0, 1).astype(left.dtype)
        pair = both[0], both[1]
        return mirrored(*pair) if self.mirror and rng.random() < 0.5 else pair
