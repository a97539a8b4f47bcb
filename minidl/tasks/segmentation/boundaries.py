"""Boundary F1: whether edges lie where they should, which IoU hardly sees.

A class's boundary is where its pixels have a 4-neighbour of another class. A boundary pixel is
right if the other image has one within ``tolerance``; precision is the share of the answer's that
are right, recall that of the target's, and F1 = 2 P R / (P + R).

Source: Csurka, Larlus & Perronnin 2013, "What is a good evaluation measure for semantic
segmentation?" (the measure, from memory; so are 4-neighbours, and "within" that includes the
tolerance itself). Badrinarayanan, Kendall & Cipolla 2017, "SegNet", section 4: 0.75 % of the
image's diagonal; F1 of each class that the target has, mean over classes, then over images (the
order of the means from memory).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.errors import ShapeError, message
from minidl.tasks.segmentation.distance import distance_to
from minidl.tasks.segmentation.labels import label_array

TOLERANCE = 0.0075
"""Share of the image's diagonal within which a boundary pixel is right."""


def boundary(mask: Any) -> np.ndarray:
    """The pixels of a mask with a 4-neighbour outside it: (H, W) bool -> (H, W) bool.

    What lies outside the image is no neighbour.
    """
    inside = np.pad(np.asarray(mask, bool), 1, constant_values=True)
    surrounded = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    return np.asarray(mask, bool) & ~surrounded


def boundary_f1(
    answer: Any,
    target: Any,
    classes: int,
    ignore_index: int | None = None,
    tolerance: float | None = None,
) -> np.ndarray:
    """F1 of each class's boundary in one image, (classes,); NaN if the target lacks the class.

    Parameters
    ----------
    answer, target : arrays of integers, shape (H, W)
    classes : int
    ignore_index : int, optional
        Pixels where the target has this label are no part of any class, and their answer is
        taken to be unknown, too.
    tolerance : float, optional
        In pixels. Default: 0.75 % of the image's diagonal.

    Notes
    -----
    A class that covers the whole image has no boundary: its F1 is 1 if it covers the whole answer,
    too, and else 0.
    """
    answer, target = label_array("boundary_f1", answer), label_array("boundary_f1", target)
    if answer.shape != target.shape or target.ndim != 2:
        raise ShapeError(
            message(
                "boundary_f1: answer and target must both be (H, W)",
                f"answer has shape {answer.shape}, target {target.shape}",
            )
        )
    reach = TOLERANCE * math.hypot(*target.shape) if tolerance is None else tolerance
    if ignore_index is not None:
        answer = np.where(target == ignore_index, ignore_index, answer)
    scores = np.full(classes, np.nan)
    for c in range(classes):
        if c != ignore_index and (target == c).any():
            scores[c] = _f1(answer == c, target == c, reach)
    return scores


def _f1(answer: np.ndarray, target: np.ndarray, reach: float) -> float:
    if answer.all() or target.all():
        return float(answer.all() and target.all())
    answer, target = boundary(answer), boundary(target)
    if not answer.any():
        return 0.0
    precision = float((distance_to(target, reach)[answer] <= reach).mean())
    recall = float((distance_to(answer, reach)[target] <= reach).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


class BoundaryF1:
    """The mean of ``boundary_f1`` over the classes of each image, and then over images."""

    def __init__(
        self, classes: int, ignore_index: int | None = None, tolerance: float | None = None
    ):
        self.classes, self.ignore_index, self.tolerance = classes, ignore_index, tolerance
        self.scores: list[float] = []

    def add(self, answer: Any, target: Any) -> None:
        """Score one image, (H, W)."""
        each = boundary_f1(answer, target, self.classes, self.ignore_index, self.tolerance)
        known = each[~np.isnan(each)]
        if known.size:
            self.scores.append(float(known.mean()))

    @property
    def value(self) -> float:
        """The mean score of images; NaN before the first."""
        return float(np.mean(self.scores)) if self.scores else float("nan")
