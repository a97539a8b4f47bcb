"""What became of each cell in an answer: found alone, merged with another, or missed.

The question that people who count cells ask. Pixel accuracy does not answer it: a bridge of one
pixel merges two cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.tasks.segmentation.connected import components


def covering_pieces(pieces: Any, instances: Any) -> np.ndarray:
    """Find for each cell 1, 2, ... the piece that covers half of it or more; 0 if none does.

    Parameters
    ----------
    pieces : array of integers, shape (H, W)
        Numbered pieces of the answer, as ``components`` gives them; 0 is background.
    instances : array of integers, shape (H, W)
        The cells, 0 where there is none.

    Returns
    -------
    array of integers, shape (cells,)

    >>> covering_pieces([[1, 1, 0, 2]], [[1, 2, 3, 3]]).tolist()
    [1, 1, 2]
    """
    pieces, instances = np.asarray(pieces), np.asarray(instances)
    cells, parts = int(instances.max()) + 1, int(pieces.max()) + 1
    pairs = np.bincount((instances * parts + pieces).ravel(), minlength=cells * parts)
    covered = pairs.reshape(cells, parts)[1:]
    pixels = covered.sum(1)
    covered[:, 0] = 0  # background is no piece
    return np.where(2 * covered.max(1) >= pixels, covered.argmax(1), 0)


def cell_fates(answer: Any, instances: Any) -> dict[str, int]:
    """Count the ``cells``, and those found ``alone``, ``merged`` or ``missed``.

    A cell is found in the piece of the answer that covers at least half of it; it is merged if
    that piece covers half of another cell, too.

    Parameters
    ----------
    answer : array of bool, shape (H, W)
        True where it says cell.
    instances : array of integers, shape (H, W)
    """
    home = covering_pieces(components(answer), instances)
    found = home[home > 0]
    shared = np.bincount(found, minlength=1)[found] > 1
    return {
        "cells": home.size,
        "alone": int((~shared).sum()),
        "merged": int(shared.sum()),
        "missed": int((home == 0).sum()),
    }
