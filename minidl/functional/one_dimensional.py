"""Rows of numbers, (N, C, L): each function is the two-dimensional one on images one pixel high."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minidl.errors import ArgumentError, DtypeError, ShapeError
from minidl.functional.conv import conv2d, conv_transpose2d
from minidl.functional.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from minidl.functional.shape import squeeze, unsqueeze
from minidl.tensor import Tensor, as_tensor

Int = int | tuple[int]


def _rows(who: str, x: Any) -> Tensor:
    """Make images one pixel high, (N, C, 1, L), of rows, (N, C, L)."""
    x = as_tensor(x)
    if x.ndim not in (2, 3):
        raise ShapeError(
            f"{who}: x needs the axes (N, C, L) or (C, L), received shape {x.shape}"
        )
    return unsqueeze(x, -2)


def _windows(who: str, weight: Any) -> Tensor:
    weight = as_tensor(weight)
    if weight.ndim != 3:
        raise ShapeError(f"{who}: weight needs three axes, received shape {weight.shape}")
    return unsqueeze(weight, -2)


def _along(who: str, name: str, value: Int, across: int) -> tuple[int, int]:
    """Make a setting of both axes of one along the row; ``across`` is the other axis's."""
    given = value if isinstance(value, tuple | list) else (value,)
    if len(given) != 1:
        raise ArgumentError(f"{who}: {name} must be one integer, received {value!r}")
    return across, given[0]


@contextmanager
def _explained(who: str) -> Iterator[None]:
    """Say in errors that an image is spoken of that is a row."""
    try:
        yield
    except (ArgumentError, DtypeError, ShapeError) as cause:
        text = f"{who} is computed on images one pixel high, (N, C, 1, L)\n    {cause}"
        raise type(cause)(text) from None


def conv1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Int = 1,
    padding: Int | str = 0,
    dilation: Int = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve rows: (N, C, L) * (O, C / groups, K) -> (N, O, J), as ``conv2d`` does images."""
    who = "conv1d"
    frame = padding if isinstance(padding, str) else _along(who, "padding", padding, 0)
    image, kernel = _rows(who, x), _windows(who, weight)
    with _explained(who):
        y = conv2d(image, kernel, bias, _along(who, "stride", stride, 1), frame,
                   _along(who, "dilation", dilation, 1), groups)
    return squeeze(y, -2)


def conv_transpose1d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Int = 1,
    padding: Int = 0,
    output_padding: Int = 0,
    groups: int = 1,
    dilation: Int = 1,
) -> Tensor:
    """Paint a window for each element: (N, C, L) * (C, O / groups, K) -> (N, O, J).

    The arguments are those of ``conv_transpose2d``.
    """
    who = "conv_transpose1d"
    image, kernel = _rows(who, x), _windows(who, weight)
    with _explained(who):
        y = conv_transpose2d(
            image, kernel, bias, _along(who, "stride", stride, 1),
            _along(who, "padding", padding, 0), _along(who, "output_padding", output_padding, 0),
            groups, _along(who, "dilation", dilation, 1),
        )
    return squeeze(y, -2)


def max_pool1d(
    x: Any,
    kernel_size: Int,
    stride: Int | None = None,
    padding: Int = 0,
    dilation: Int = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Take the largest element of each window: (N, C, L) -> (N, C, J), as ``max_pool2d`` does."""
    who, step = "max_pool1d", kernel_size if stride is None else stride
    image = _rows(who, x)
    with _explained(who):
        y, index = max_pool2d(
            image, _along(who, "kernel_size", kernel_size, 1), _along(who, "stride", step, 1),
            _along(who, "padding", padding, 0), _along(who, "dilation", dilation, 1), ceil_mode,
            True,
        )
    return (squeeze(y, -2), squeeze(index, -2)) if return_indices else squeeze(y, -2)


def avg_pool1d(
    x: Any,
    kernel_size: Int,
    stride: Int | None = None,
    padding: Int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Take the mean of each window: (N, C, L) -> (N, C, J), as ``avg_pool2d`` does."""
    who, step = "avg_pool1d", kernel_size if stride is None else stride
    image = _rows(who, x)
    with _explained(who):
        y = avg_pool2d(
            image, _along(who, "kernel_size", kernel_size, 1), _along(who, "stride", step, 1),
            _along(who, "padding", padding, 0), ceil_mode, count_include_pad,
        )
    return squeeze(y, -2)


def adaptive_avg_pool1d(x: Any, output_size: Int) -> Tensor:
    """Take means over as many, nearly equal pieces as ``output_size`` says: -> (N, C, J)."""
    who = "adaptive_avg_pool1d"
    image = _rows(who, x)
    with _explained(who):
        return squeeze(adaptive_avg_pool2d(image, _along(who, "output_size", output_size, 1)), -2)
