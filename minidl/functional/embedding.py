"""Tables of vectors, one per word, and words as indicator vectors."""

from __future__ import annotations

from typing import Any

from minidl.compute.arrays import xp_of
from minidl.errors import ArgumentError, DtypeError, ShapeError, message
from minidl.functional.index import take
from minidl.functional.pointwise import where
from minidl.tensor import Tensor, as_tensor


def embedding(indices: Any, weight: Any, padding_idx: int | None = None) -> Tensor:
    """Read rows of a table: (...) , (V, D) -> (..., D).

    Parameters
    ----------
    indices : Tensor of integers
    weight : Tensor, shape (V, D)
    padding_idx : int, optional
        A row that receives no gradient.

    Raises
    ------
    ArgumentError
        If an index is not a row.
    """
    indices, weight = as_tensor(indices), as_tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be (V, D), received shape {weight.shape}")
    rows = weight.shape[0]
    _check_classes("embedding", indices, rows)
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ArgumentError(f"embedding: padding_idx {padding_idx} is not one of {rows} rows")
        row = xp_of(weight.data).arange(rows)[:, None]
        weight = where(row == padding_idx % rows, weight.detach(), weight)
    return take(weight, indices, 0)


def one_hot(indices: Any, num_classes: int = -1) -> Tensor:
    """Write 1 at the index, 0 elsewhere, (...) -> (..., num_classes) of int64, without gradient.

    ``num_classes=-1`` means one more than the largest index.
    """
    indices = as_tensor(indices)
    xp = xp_of(indices.data)
    given = indices.data
    largest = int(given.max()) if given.size and num_classes == -1 else -1
    classes = largest + 1 if num_classes == -1 else num_classes
    _check_classes("one_hot", indices, classes)
    return Tensor((given[..., None] == xp.arange(classes)).astype(xp.int64))


def _check_classes(who: str, indices: Tensor, count: int) -> None:
    if indices.dtype.kind not in "iu":
        raise DtypeError(f"{who}: indices must be integers, received {indices.dtype}")
    data = indices.data
    if data.size and not 0 <= data.min() <= data.max() < count:
        raise ArgumentError(
            message(
                f"{who}: an index is outside 0 to {count - 1}",
                f"received indices from {data.min()} to {data.max()}",
            )
        )
