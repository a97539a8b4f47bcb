"""A large image through a padded network piece by piece, with the answer of one pass.

Such a network pads every one of its layers, so its answer near a cut is not that of the whole
image: each piece is read ``radius`` pixels further than it is kept. Where the image itself ends the
piece ends too, and the network pads there what it would have padded. (The tiles of
``minidl.tasks.segmentation`` mirror the image there instead, which is right for networks without
padding.)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minidl.errors import ArgumentError
from minidl.tasks.restoration.protocol import Model, restored


def count_pieces(shape: tuple[int, int], tile: int) -> int:
    """Count the pieces that an image (H, W) is cut into."""
    h, w = shape
    return -(-h // tile) * -(-w // tile)


def restored_in_pieces(
    model: Model,
    y: np.ndarray,
    tile: int,
    radius: int,
    done: Callable[[], object] = lambda: None,
) -> np.ndarray:
    """Apply a model to an image piece by piece: (H, W) -> (H, W).

    Parameters
    ----------
    tile : int
        Sides of a piece as it is kept, in pixels, at most.
    radius : int
        Pixels that an output looks at on each side of its own; the models say it.
    done : callable
        Called after each piece.
    """
    if tile < 1 or radius < 0:
        raise ArgumentError(f"restored_in_pieces: received tile = {tile}, radius = {radius}")
    h, w = y.shape
    answer = np.empty_like(y)
    for top in range(0, h, tile):
        for left in range(0, w, tile):
            above, before = max(top - radius, 0), max(left - radius, 0)
            bottom, right = min(top + tile, h), min(left + tile, w)
            piece = restored(model, y[above : bottom + radius, before : right + radius])
            answer[top:bottom, left:right] = piece[
                top - above : bottom - above, left - before : right - before
            ]
            done()
    return answer
