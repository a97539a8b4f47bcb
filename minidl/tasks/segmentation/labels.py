"""Images of labels: read from wherever they lie, and checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import to_device
from minidl.errors import ArgumentError, DtypeError, message
from minidl.tensor import Tensor


def label_array(who: str, labels: Any) -> np.ndarray:
    """Turn labels into an array of integers on the CPU."""
    given = np.asarray(to_device(labels.data, "cpu") if isinstance(labels, Tensor) else labels)
    if given.dtype.kind not in "iub":
        raise DtypeError(
            message(
                f"{who}: labels must be integers, not {given.dtype}",
                hint="of scores, take the argmax over the class axis first.",
            )
        )
    return given.astype(np.int64)


def flat_labels(
    who: str, labels: Any, classes: int, ignore_index: int | None = None
) -> np.ndarray:
    """Flatten labels, drop ignored ones, and check that all others are below ``classes``.

    Raises
    ------
    ArgumentError
        If there is a label that is no class.
    """
    flat = label_array(who, labels).ravel()
    known = flat if ignore_index is None else flat[flat != ignore_index]
    wrong = known[(known < 0) | (known >= classes)]
    if wrong.size:
        raise ArgumentError(
            message(
                f"{who}: there is no class {int(wrong[0])}",
                f"the classes are 0 to {classes - 1}, ignore_index is {ignore_index}",
                hint="mark pixels that do not count with ignore_index.",
            )
        )
    return known
