"""How good a segmentation is, counted in pixels: accuracies and intersections over unions.

All of it follows from one table, n[i, j] = pixels of class i that were called j, added up over
all images *before* anything is divided. With t_i = sum_j n[i, j], the pixels of class i:

    pixel accuracy                sum_i n_ii / sum_i t_i
    class accuracy                mean over i of n_ii / t_i
    mean IoU                      mean over i of n_ii / (t_i + sum_j n_ji - n_ii)
    frequency-weighted IoU        sum_i t_i IoU_i / sum_i t_i

Source: Long, Shelhamer & Darrell 2015, "Fully convolutional networks for semantic segmentation",
section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import ShapeError, message
from minidl.tasks.segmentation.labels import flat_labels, label_array


class ConfusionMatrix:
    """The table of true classes and answers, counted in pixels.

    Parameters
    ----------
    classes : int
    ignore_index : int, optional
        A true label whose pixels do not count.

    Attributes
    ----------
    counts : array of int64, shape (classes, classes)
        Rows are true classes, columns are answers.

    Examples
    --------
    >>> from minidl.tasks.segmentation import ConfusionMatrix
    >>> matrix = ConfusionMatrix(2)
    >>> matrix.add(answer=[[0, 1, 1]], target=[[0, 0, 1]])
    >>> matrix.counts.tolist(), round(matrix.mean_iou, 3)
    ([[1, 1], [0, 1]], 0.5)
    """

    def __init__(self, classes: int, ignore_index: int | None = None):
        self.classes, self.ignore_index = classes, ignore_index
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, answer: Any, target: Any) -> None:
        """Count an image, or several: labels of any one shape, the argmax of scores.

        Counting is done on the CPU: it is no part of a training step.
        """
        target, answer = label_array("target", target), label_array("answer", answer)
        if target.shape != answer.shape:
            raise ShapeError(
                message(
                    "ConfusionMatrix: answer and target must have the same shape",
                    f"answer has shape {answer.shape}, target {target.shape}",
                    hint="of a valid network, crop the target to the output's size.",
                )
            )
        if self.ignore_index is not None:
            counted = target != self.ignore_index
            answer, target = answer[counted], target[counted]
        rows = flat_labels("ConfusionMatrix: target", target, self.classes)
        columns = flat_labels("ConfusionMatrix: answer", answer, self.classes)
        both = np.bincount(rows * self.classes + columns, minlength=self.classes**2)
        self.counts += both.reshape(self.classes, self.classes)

    @property
    def pixel_accuracy(self) -> float:
        """The share of all pixels that were called right; NaN without a pixel."""
        return _mean(np.diag(self.counts).sum() / self.counts.sum() if self.counts.any() else [])

    @property
    def class_accuracies(self) -> np.ndarray:
        """The share of each class's pixels that were called right; NaN without a pixel."""
        return _ratio(np.diag(self.counts), self.counts.sum(1))

    @property
    def class_accuracy(self) -> float:
        """The mean of the accuracies of classes that occur."""
        return _mean(self.class_accuracies)

    @property
    def ious(self) -> np.ndarray:
        """Intersection over union of each class; NaN if it neither occurs nor is answered."""
        right = np.diag(self.counts)
        return _ratio(right, self.counts.sum(0) + self.counts.sum(1) - right)

    @property
    def mean_iou(self) -> float:
        """The mean of the IoUs of classes that have one."""
        return _mean(self.ious)

    @property
    def frequency_weighted_iou(self) -> float:
        """The mean of the IoUs, weighted by the pixels of each class."""
        occurs = self.counts.sum(1)
        return _mean((occurs * np.nan_to_num(self.ious)).sum() / occurs.sum()
                     if occurs.any() else [])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _mean(values: Any) -> float:
    """The mean of the values that are not NaN; NaN, and no warning, if there are none."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if known.size else float("nan")
