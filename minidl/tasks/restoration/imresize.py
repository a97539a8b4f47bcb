"""MATLAB's imresize: the bicubic interpolation with which super-resolution is measured.

Published figures are of images shrunk and enlarged by this function. Other bicubics differ: a
kernel with a = -0.75 or without antialiasing (OpenCV) costs decibels, another border (Pillow)
hundredths of one. It is one more table of taps, ``minidl.compute.taps.matlab_bicubic``, so it runs
wherever ``resample`` does and has derivatives of all orders.

Sources: Keys 1981 (the kernel). The rest (widened kernel, mirrored border, sizes, order of the two
passes, rounding of bytes) is MATLAB's, and was compared with stored output of MATLAB.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.compute.arrays import xp_of
from minidl.compute.taps import Taps, matlab_bicubic
from minidl.compute.windows import pair
from minidl.errors import ArgumentError, DtypeError, ShapeError, message
from minidl.functional.resample import resample
from minidl.functional.shape import reshape
from minidl.tensor import Tensor, as_tensor

Scale = float | tuple[float, float]
"""One factor, or one along H and one along W."""


def imresize(
    x: Any,
    scale: Scale | None = None,
    size: int | tuple[int, int] | None = None,
    antialias: bool = True,
) -> Any:
    """Resize images bicubically, as MATLAB does.

    (..., H, W) -> (..., I, J)

    Parameters
    ----------
    x : Tensor or array, shape (..., H, W)
        Floats, or uint8: bytes are rounded and clipped after each of the two passes.
    scale : float or (float, float), optional
        Along H and along W; I = ceil(scale H). Either this or ``size``.
    size : int or (I, J), optional
        The new size in pixels; the scales are then I / H and J / W.
    antialias : bool
        When shrinking, widen the kernel so that no pixel is skipped.

    Returns
    -------
    Tensor or array
        What x was, and of its dtype.

    Raises
    ------
    ArgumentError
        If not exactly one of ``scale`` and ``size`` is given, or one is not positive.
    DtypeError
        If x is neither of floats nor of uint8.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.tasks.restoration import imresize
    >>> x = np.tile(np.arange(9.0) ** 2, (3, 1))
    >>> imresize(x, 1 / 3).round(4)
    array([[ 1.0988, 16.2222, 50.679 ]])
    """
    given = as_tensor(x)
    if given.ndim < 2 or 0 in given.shape:
        raise ShapeError(
            message(
                "imresize: x must be images with the axes (..., H, W), and not empty",
                f"received shape {given.shape}",
            )
        )
    h, w = given.shape[-2:]
    (i, j), (along_h, along_w) = _target((h, w), scale, size)
    tables = (
        matlab_bicubic(h, i, along_h, antialias),
        matlab_bicubic(w, j, along_w, antialias),
    )
    if given.dtype == np.uint8:
        y = _bytes(given, tables, rows_first=along_h <= along_w)
    elif given.dtype.kind == "f":
        y = _mixed(given, *tables)
    else:
        raise DtypeError(
            message(
                f"imresize: x has dtype {given.dtype}",
                hint="give floats, or uint8, which is rounded as MATLAB rounds it.",
            )
        )
    return y if isinstance(x, Tensor) else y.data


def _target(
    image: tuple[int, int], scale: Any, size: Any
) -> tuple[tuple[int, int], tuple[float, float]]:
    """The new size, and the scales along H and W."""
    if (scale is None) == (size is None):
        raise ArgumentError(
            message(
                "imresize: give either scale or size", f"received scale={scale}, size={size}"
            )
        )
    if size is not None:
        i, j = pair("imresize: size", size, 1)
        return (i, j), (i / image[0], j / image[1])
    scales = tuple(scale) if isinstance(scale, (tuple, list)) else (scale, scale)
    if len(scales) != 2 or not all(0 < s < math.inf for s in scales):
        raise ArgumentError(f"imresize: scale must be positive numbers, received {scale}")
    i, j = (math.ceil(s * n) for s, n in zip(scales, image, strict=True))
    return (i, j), (float(scales[0]), float(scales[1]))


def _mixed(x: Tensor, down: Taps, across: Taps) -> Tensor:
    batch = x.shape[:-2]
    y = resample(reshape(x, (math.prod(batch), 1, *x.shape[-2:])), down, across)
    return reshape(y, (*batch, *y.shape[-2:]))


def _bytes(x: Tensor, tables: tuple[Taps, Taps], rows_first: bool) -> Tensor:
    """Resize bytes axis by axis, rounding after each; the axis of the smaller scale goes first."""
    down, across = tables
    for along_h in (True, False) if rows_first else (False, True):
        h, w = x.shape[-2:]
        wide = Tensor(x.data.astype(np.float64))
        if along_h:
            mixed = _mixed(wide, down, matlab_bicubic(w, w))
        else:
            mixed = _mixed(wide, matlab_bicubic(h, h), across)
        x = Tensor(to_bytes(mixed.data))
    return x


def to_bytes(x: Any) -> Any:
    """Clip to 0..255 and round, halves upwards, as MATLAB's uint8 does: an array of uint8.

    >>> import numpy as np
    >>> to_bytes(np.array([-3.0, 0.5, 2.5, 300.0])).tolist()
    [0, 1, 3, 255]
    """
    return xp_of(x).floor(x.clip(0, 255) + 0.5).astype(np.uint8)
