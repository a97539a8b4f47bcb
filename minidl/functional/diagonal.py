"""Diagonals of matrices. Reading one is linear; its adjoint writes it into zeros."""

from __future__ import annotations

from typing import Any

from minidl.compute.arrays import xp_of
from minidl.compute.counts import axis_of, distinct, whole
from minidl.functional.index import Slice
from minidl.functional.shape import moveaxis
from minidl.tensor import Tensor, as_tensor


class Diagonal(Slice):
    """Read the places [..., i, i + offset] of matrices."""


def diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Read the diagonal of the matrices that two axes span; it becomes the last axis.

    y[..., i] = x[..., i, i + offset], with dim1 and dim2 as the last axes of x

    Parameters
    ----------
    x : Tensor
    offset : int
        How far the diagonal lies to the right of the main one; to the left, if negative.
    dim1, dim2 : int
        The axis of the rows, and that of the columns.

    Raises
    ------
    ArgumentError
        If an axis does not exist, or is named twice.
    """
    x, offset = as_tensor(x), whole("diagonal: offset", offset, None)
    rows, columns = distinct("diagonal", [axis_of("diagonal", d, x.ndim) for d in (dim1, dim2)])
    down, right = max(-offset, 0), max(offset, 0)
    length = max(min(x.shape[rows] - down, x.shape[columns] - right), 0)
    i = xp_of(x.data).arange(length)
    matrices = moveaxis(x, (rows, columns), (-2, -1))
    return Diagonal(matrices.shape, (..., i + down, i + right))(matrices)
