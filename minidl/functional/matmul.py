"""Matrix products: the second gentlest bilinear form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.dispatch import Code, run
from minidl.errors import ShapeError, message
from minidl.functional.shape import reshape, unsqueeze
from minidl.kinds import Bilinear, Broadcast, Corner
from minidl.matching import match
from minidl.tensor import Tensor, as_tensor


class Matmul(Bilinear):
    """T(x, w, y) = sum x[a, b] w[b, c] y[a, c], over a batch of matrices.

    The corners are y = x w, x = y w', w = x' y, each summed over the batch axes
    along which its array is repeated.
    """

    def __init__(self, x: tuple[int, ...], w: tuple[int, ...]):
        self.x, self.w = x, w

    def corner_x(self, w: Array, y: Array) -> Array:
        return _summed(_multiplied(reference.matmul_x, w, y), self.x)

    def corner_w(self, x: Array, y: Array) -> Array:
        return _summed(_multiplied(reference.matmul_w, x, y), self.w)

    def corner_y(self, x: Array, w: Array) -> Array:
        return _multiplied(reference.matmul_y, x, w)


class Dense(Bilinear):
    """T(x, w, y) = sum x[n, c] w[o, c] y[n, o], the product of a fully connected layer.

    The corners are y = x w', x = y w, w = y' x: those of ``Matmul`` in another order. So a gradient
    of w lies in memory as w does.
    """

    names: ClassVar[Mapping[str, str]] = {"y": "Linear"}

    def corner_x(self, w: Array, y: Array) -> Array:
        return _multiplied(reference.matmul_y, y, w)

    def corner_w(self, x: Array, y: Array) -> Array:
        return _multiplied(reference.matmul_w, y, x)

    def corner_y(self, x: Array, w: Array) -> Array:
        return _multiplied(reference.matmul_x, w, x)


def _multiplied(function: Code, first: Array, second: Array) -> Array:
    """A product of real numbers by the code in use; of others, or on a GPU, by the array's own."""
    real = isinstance(first, np.ndarray) and first.dtype.char in "fd"
    return run(function, first, second) if real else function(first, second)


def _summed(product: Array, shape: tuple[int, ...]) -> Array:
    return product if product.shape == shape else Broadcast(shape, product.shape).adjoint(product)


@lru_cache(maxsize=1024)  # asked at every step
def _product(x: tuple[int, ...], w: tuple[int, ...]) -> Corner:
    return Matmul(x, w).corner("y")


_DENSE = Dense().corner("y")


def matmul(x: Any, w: Any) -> Tensor:
    """Multiply matrices, over leading batch axes that broadcast.

    (..., A, B) @ (..., B, C) -> (..., A, C); a vector stands for a row on the
    left and for a column on the right.

    Raises
    ------
    ShapeError
        If the inner sizes differ.
    """
    x, w = match(x, w)
    left, right = x.data.shape, w.data.shape
    if not left or not right or left[-1] != right[-2 if len(right) > 1 else 0]:
        raise ShapeError(
            message(
                "matmul: the last axis of x must match the last but one of w",
                f"x has shape {x.shape}, w has shape {w.shape}",
            )
        )
    rows = unsqueeze(x, 0) if len(left) == 1 else x
    columns = unsqueeze(w, 1) if len(right) == 1 else w
    y = _product(rows.data.shape, columns.data.shape)(rows, columns)
    if len(left) == 1:
        y = reshape(y, (*y.shape[:-2], y.shape[-1]))
    return reshape(y, y.shape[:-1]) if len(right) == 1 else y


def bmm(x: Any, w: Any) -> Tensor:
    """Multiply matrices pair by pair: (N, A, B), (N, B, C) -> (N, A, C).

    ``matmul`` does so over any number of axes in front, which broadcast.

    Raises
    ------
    ShapeError
        If x and w are not as many matrices, or the inner sizes differ.
    """
    left, right = as_tensor(x).shape, as_tensor(w).shape
    if not len(left) == len(right) == 3 or left[0] != right[0]:
        raise ShapeError(
            message(
                "bmm: x and w must have the axes (N, A, B) and (N, B, C)",
                f"x has shape {left}, w has shape {right}",
                hint="matmul takes other numbers of axes, too.",
            )
        )
    return matmul(x, w)


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """Map the last axis affinely, y = x weight' + bias.

    (..., C) * (O, C) -> (..., O)

    Parameters
    ----------
    x : Tensor, shape (..., C)
    weight : Tensor, shape (O, C)
    bias : Tensor, shape (O,), optional

    Raises
    ------
    ShapeError
        If x and weight disagree on C.
    """
    x, weight = match(x, weight)
    shape, matrix = x.data.shape, weight.data.shape
    if not shape or len(matrix) != 2 or shape[-1] != matrix[1]:
        raise ShapeError(
            message(
                "linear: x and weight disagree on the number of features C",
                f"x has shape {x.shape}, read as (..., C)",
                f"weight has shape {weight.shape}, read as (O, C)",
                hint="weight.shape[1] must equal x.shape[-1].",
            )
        )
    rows = x if len(shape) == 2 else reshape(x, (-1 if x.size else 0, shape[-1]))
    y = _DENSE(rows, weight)
    y = y if bias is None else y + bias
    return y if len(shape) == 2 else reshape(y, (*shape[:-1], matrix[0]))
