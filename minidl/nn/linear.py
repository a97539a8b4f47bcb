"""Fully connected layers, tables of vectors, and changes of shape."""

from __future__ import annotations

import math
from typing import Any

import minidl.functional as F
from minidl.errors import ArgumentError, ShapeError, message
from minidl.nn import init
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter, unfilled
from minidl.tensor import Tensor, as_tensor, tensor


class Identity(Module):
    """A layer that returns x itself; it takes any arguments, to stand in for any layer."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class Linear(Module):
    """An affine map of the last axis, y = x weight' + bias.

    (..., C) -> (..., O), C = ``in_features``, O = ``out_features``

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether to add a trained constant.
    dtype : optional
        That of the parameters; default float32.

    Attributes
    ----------
    weight : Parameter, shape (O, C)
    bias : Parameter, shape (O,), or None
        Both start uniform on +-1 / sqrt(C).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None):
        super().__init__()
        if min(in_features, out_features) < 0:
            raise ArgumentError(
                f"Linear: features cannot be negative, received {in_features}, {out_features}"
            )
        self.in_features, self.out_features = in_features, out_features
        self.weight = unfilled(out_features, in_features, dtype=dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", unfilled(out_features, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.fan_in_uniform_(self.weight, self.bias)

    def forward(self, x: Any) -> Tensor:
        if isinstance(x, list | tuple):  # of numbers, which have no dtype of their own
            x = tensor(x, dtype=self.weight.dtype, device=self.weight.device)
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Embedding(Module):
    """A table of vectors, looked up by number: (...) of integers -> (..., D).

    Parameters
    ----------
    num_embeddings : int
        Rows V of the table.
    embedding_dim : int
        Length D of a vector.
    padding_idx : int, optional
        A row that starts as zeros and receives no gradient.
    dtype : optional

    Attributes
    ----------
    weight : Parameter, shape (V, D)
        Starts normal, of mean 0 and variance 1.

    Raises
    ------
    ArgumentError
        If ``padding_idx`` is not a row.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: Any = None,
    ):
        super().__init__()
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(
                    f"Embedding: padding_idx {padding_idx} is not one of {num_embeddings} rows"
                )
            padding_idx %= num_embeddings
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx
        self.weight = unfilled(num_embeddings, embedding_dim, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, indices: Any) -> Tensor:
        return F.embedding(indices, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Flatten(Module):
    """Merge the axes ``start_dim`` to ``end_dim`` into one: (N, C, H, W) -> (N, C H W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Tensor:
        return F.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split one axis into several, the inverse of Flatten.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : tuple of int
        Its new sizes; one may be -1, what is left.
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]):
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)
        if self.unflattened_size.count(-1) > 1 or min(self.unflattened_size, default=0) < -1:
            raise ArgumentError(
                message(
                    "Unflatten: unflattened_size must be sizes, of which one may be -1",
                    f"received {unflattened_size}",
                )
            )

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if not -x.ndim <= self.dim < x.ndim:
            raise ShapeError(f"Unflatten: x has no axis {self.dim}, its shape is {x.shape}")
        axis, size = self.dim % x.ndim, list(self.unflattened_size)
        if -1 in size:
            rest = math.prod(s for s in size if s != -1)
            size[size.index(-1)] = x.shape[axis] // rest if rest else 0
        if math.prod(size) != x.shape[axis]:
            raise ShapeError(
                message(
                    f"Unflatten: axis {axis} does not divide into {self.unflattened_size}",
                    f"x has shape {x.shape}, so the axis has {x.shape[axis]} elements",
                )
            )
        return F.reshape(x, (*x.shape[:axis], *size, *x.shape[axis + 1 :]))

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
