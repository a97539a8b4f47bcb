"""The errors of the ISBI 2012 challenge: are cells that should be apart apart?

A gap of one pixel in a membrane is nothing to pixel accuracy, and joins two neurons. Images are
bool: True within cells, False on membranes.

    pixel error     share of pixels that differ
    Rand error      1 - F1 of the question "are these two pixels in one cell?", over all pairs
    warping error   share of pixels that differ, after the target has been bent towards the answer
                    as far as it goes without a cell being split, joined, made or lost

Sources: Arganda-Carreras et al. 2015, "Crowdsourcing the creation of image segmentation algorithms
for connectomics" (the challenge and its Rand score); Jain et al. 2010, "Boundary learning by
optimization with topological constraints" (warping). Definitions are from memory, and have not
been compared with the challenge's own scripts, which for published numbers took the best of several
thresholds.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from minidl.errors import ArgumentError, ShapeError, message
from minidl.tasks.segmentation.connected import components

MEMBRANES = ("singletons", "segment")


def pixel_error(answer: Any, target: Any) -> float:
    """The share of pixels that differ."""
    answer, target = _both("pixel_error", answer, target)
    return float((answer != target).mean())


def rand_error(answer: Any, target: Any, membranes: str = "singletons") -> float:
    """The Rand error: 1 - F1 over pairs of pixels of the target's cells (not its membranes).

    Parameters
    ----------
    answer, target : arrays of bool, shape (H, W)
        True within cells; cells are 4-connected components.
    membranes : {"singletons", "segment"}
        What the answer's membrane pixels are, where the target has a cell: each one a segment of
        its own (SNEMI's script), or all together one segment (scikit-image's
        ``adapted_rand_error``).

    Notes
    -----
    With p_ij the share of pixels in cell i of the target and segment j of the answer, F1 is
    2 sum p_ij^2 / (sum_i p_i^2 + sum_j p_j^2): the precision sum p_ij^2 / sum_j p_j^2 is lowered
    by joined cells, the recall sum p_ij^2 / sum_i p_i^2 by split ones.
    """
    answer, target = _both("rand_error", answer, target)
    if membranes not in MEMBRANES:
        raise ArgumentError(
            message(f"rand_error: unknown membranes {membranes!r}", hint=f"choose of {MEMBRANES}.")
        )
    cells = components(target)
    parts, cells = components(answer)[cells > 0], cells[cells > 0]
    if not cells.size:
        return 0.0
    if membranes == "singletons":
        alone = parts == 0
        parts[alone] = parts.max() + 1 + np.arange(alone.sum())
    both = np.unique(cells * (parts.max() + 1) + parts, return_counts=True)[1]
    squares = [float((n.astype(np.float64) ** 2).sum())
               for n in (both, np.bincount(cells), np.bincount(parts))]
    return 1 - 2 * squares[0] / (squares[1] + squares[2])


def warping_error(answer: Any, target: Any) -> float:
    """The share of pixels that still differ when the target has been warped towards the answer."""
    answer, target = _both("warping_error", answer, target)
    return float((warped(target, answer) != answer).mean())


def warped(target: Any, answer: Any) -> np.ndarray:
    """Warp the target towards the answer: flip all differing pixels that change no topology.

    (H, W), (H, W) -> (H, W) bool

    Pixels are taken in reading order, and again when a neighbour has been flipped. Another order
    may come closer to the answer, so the error is an upper bound, as the challenge's is.
    Cells are 4-connected, membranes 8-connected, and outside the image there is membrane.
    """
    answer, target = _both("warped", answer, target)
    now, goal = np.pad(target, 1), np.pad(answer, 1)
    waiting = deque(zip(*(places.tolist() for places in np.nonzero(now != goal)), strict=True))
    while waiting:
        i, j = waiting.popleft()
        around = [bool(now[i + di, j + dj]) for di, dj in RING]
        if now[i, j] == goal[i, j] or not is_simple(around):
            continue
        now[i, j] = goal[i, j]
        for di, dj in RING:
            if now[i + di, j + dj] != goal[i + di, j + dj]:
                waiting.append((i + di, j + dj))
    return now[1:-1, 1:-1]


RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Steps (down, across) to the eight neighbours, once around; even ones share a side."""


def is_simple(around: list[bool]) -> bool:
    """Tell whether a pixel with these neighbours can be flipped without a change of topology.

    It can if, among the eight, exactly one 4-connected piece of cell touches a side of it: none
    would be a new (or a lost) cell or hole, two would be joined (or split).

    Source: Yokoi, Toriwaki & Fukumura 1975, "An analysis of topological properties of digitized
    binary pictures using local features": their number is 1.
    """
    number = 0
    for k in (0, 2, 4, 6):
        here, corner, side = around[k], around[k + 1], around[(k + 2) % 8]
        number += here and not (corner and side)
    return number == 1


def _both(who: str, answer: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    a, t = np.asarray(answer), np.asarray(target)
    if a.shape != t.shape or a.ndim != 2 or not a.size or not a.dtype.kind == t.dtype.kind == "b":
        raise ShapeError(
            message(
                f"{who}: answer and target must be bool of one shape (H, W)",
                f"answer is {a.dtype} of shape {a.shape}, target {t.dtype} of shape {t.shape}",
                hint="compare scores with a threshold first: scores > 0.5.",
            )
        )
    return a, t
