"""How far each pixel is from the nearest object, and from the second nearest.

The distance to a set of pixels separates: first along columns, then along rows,

    d^2(i, j) = min over j' of (j - j')^2 + v(i, j')^2,    v the distance within column j'

For the *two* nearest of many objects, the same works if a column hands on the two nearest objects
that are different: were the second nearest of pixel (i, j) hidden behind two others in its own
column, both of these would also be nearer to (i, j). So the cost does not depend on how many
objects there are, and squares of distances are whole numbers: nothing is rounded before the root.

Source: Felzenszwalb & Huttenlocher 2012, "Distance transforms of sampled functions", section 2
(the separation; the two nearest are ours).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.errors import ShapeError
from minidl.tasks.segmentation.labels import label_array

FAR = 1 << 40
"""The square of a distance to what does not exist: larger than all that do."""

BACKGROUND = 0
"""Label of background, and of an object that does not exist."""


class Nearest(NamedTuple):
    """The two nearest objects of each pixel: squared distances and labels, (H, W) int64 each."""

    square_1: np.ndarray
    label_1: np.ndarray
    square_2: np.ndarray
    label_2: np.ndarray


def two_nearest(labels: Any, limit: float = np.inf) -> tuple[np.ndarray, np.ndarray]:
    """Measure distances, in pixels, to the nearest object and to the second nearest.

    (H, W) integers -> (H, W), (H, W) float64

    Parameters
    ----------
    labels : array of integers, shape (H, W)
        0 is background; every other number is one object, connected or not.
    limit : float
        Distances above it are not looked for, and come out infinite.

    Returns
    -------
    nearest, second : array, shape (H, W)
        Euclidean, between centres of pixels: 0 within the nearest object; infinite where
        there is no object, or no second one.

    Examples
    --------
    >>> from minidl.tasks.segmentation import two_nearest
    >>> [d.tolist() for d in two_nearest([[5, 0, 0, 7]])]
    [[[0.0, 1.0, 1.0, 0.0]], [[3.0, 2.0, 2.0, 3.0]]]
    """
    given = label_array("two_nearest", labels)
    if given.ndim != 2:
        raise ShapeError(f"two_nearest: labels must be (H, W), received shape {given.shape}")
    column = _within_columns(given)
    alone = np.unique(given[given != BACKGROUND]).size < 2
    found = _along_rows(column, limit, alone)
    return _root(found.square_1, limit), _root(found.square_2, limit)


def distance_to(mask: Any, limit: float = np.inf) -> np.ndarray:
    """Measure the distance, in pixels, of each pixel to the nearest one in ``mask``: (H, W)."""
    return two_nearest(np.asarray(mask, bool).astype(np.int64), limit)[0]


def _root(square: np.ndarray, limit: float) -> np.ndarray:
    return np.where((square >= FAR) | (square > limit**2), np.inf, np.sqrt(square))


def _no_objects(shape: tuple[int, ...]) -> Nearest:
    return Nearest(*(np.full(shape, value) for value in (FAR, BACKGROUND, FAR, BACKGROUND)))


def _offer(best: Nearest, square: np.ndarray, label: np.ndarray) -> Nearest:
    """Update the two nearest objects when each pixel is offered one more."""
    square_1, label_1, square_2, label_2 = best
    known = label == label_1
    first = square < square_1
    # Who is overtaken becomes second, unless it is the same object.
    moved = first & ~known
    second = ~first & ~known & (square < square_2)
    return Nearest(
        np.where(first, square, square_1),
        np.where(first, label, label_1),
        np.where(moved, square_1, np.where(second, square, square_2)),
        np.where(moved, label_1, np.where(second, label, label_2)),
    )


def _within_columns(labels: np.ndarray) -> Nearest:
    """Find the two nearest objects in each pixel's column: once from above, once from below."""
    rows = labels.shape[0]
    best = _no_objects(labels.shape)
    for order in (range(rows), range(rows - 1, -1, -1)):
        seen = _no_objects(labels.shape[1:])  # of each column: the last two objects, and their rows
        last, before = np.zeros_like(seen.label_1), np.zeros_like(seen.label_1)
        name_1, name_2 = seen.label_1, seen.label_2
        for i in order:
            here = labels[i]
            new = (here != BACKGROUND) & (here != name_1)
            name_2, before = np.where(new, name_1, name_2), np.where(new, last, before)
            name_1 = np.where(new, here, name_1)
            last = np.where(here != BACKGROUND, i, last)
            row = Nearest(*(part[i] for part in best))
            for name, place in ((name_1, last), (name_2, before)):
                row = _offer(row, np.where(name == BACKGROUND, FAR, (i - place) ** 2), name)
            for part, value in zip(best, row, strict=True):
                part[i] = value
    return best


def _along_rows(column: Nearest, limit: float, alone: bool) -> Nearest:
    """Find the two nearest objects in all columns, the nearest first, until no more can win."""
    best = Nearest(*(part.copy() for part in column))
    candidates = [column[:2]] if alone else [column[:2], column[2:]]
    last = best.square_1 if alone else best.square_2
    for step in range(1, last.shape[1]):
        if step > limit or step**2 >= last.max(initial=0):
            break
        for here, there in (
            (slice(step, None), slice(None, -step)),
            (slice(None, -step), slice(step, None)),
        ):
            part = Nearest(*(a[:, here] for a in best))
            for square, label in candidates:
                offered = np.where(label == BACKGROUND, FAR, square + step**2)[:, there]
                part = _offer(part, offered, label[:, there])
            for whole, value in zip(best, part, strict=True):
                whole[:, here] = value
    return best
