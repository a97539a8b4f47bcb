"""Tables of vectors, one per word, and words as indicator vectors."""

from __future__ import annotations

from typing import Any

from minidl.compute.arrays import xp_of
from minidl.compute.counts import whole
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.index import Gather, check_places
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
    PlaceError
        If an index is not a row; indices on a GPU are waited for, to see that.
    """
    indices, weight = as_tensor(indices), as_tensor(weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be (V, D), received shape {weight.shape}")
    rows = weight.shape[0]
    check_places("embedding", indices.data, rows, told=f"weight has shape {weight.shape}")
    if padding_idx is not None:
        if not -rows <= whole("embedding: padding_idx", padding_idx, None) < rows:
            raise ArgumentError(f"embedding: padding_idx {padding_idx} is not one of {rows} rows")
        row = xp_of(weight.data).arange(rows)[:, None]
        weight = where(row == padding_idx % rows, weight.detach(), weight)
    return Gather(weight.shape, (xp_of(weight.data).asarray(indices.data),))(weight)


def one_hot(indices: Any, num_classes: int = -1) -> Tensor:
    """Write 1 at the index, 0 elsewhere, (...) -> (..., num_classes) of int64, without gradient.

    ``num_classes=-1`` means one more than the largest index.

    Raises
    ------
    PlaceError
        If an index is no class; indices on a GPU are waited for, to see that.
    ArgumentError
        If ``num_classes`` is neither -1 nor at least 1, or is -1 and there is no index.
    """
    given = as_tensor(indices).data
    xp, classes = xp_of(given), num_classes
    if num_classes != -1:
        whole("one_hot: num_classes, unless it is -1,", num_classes, 1)
    elif given.size:
        classes = int(given.max()) + 1
    else:
        raise ArgumentError(
            message("one_hot: without indices there is no largest one",
                    f"received indices of shape {given.shape}", hint="give num_classes.")
        )
    check_places("one_hot", given, classes)
    return Tensor((given[..., None] == xp.arange(classes)).astype(xp.int64))
