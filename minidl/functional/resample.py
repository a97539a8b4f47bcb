"""Resizing images: a table of taps per axis, and one linear map that applies them.

The modes of ``interpolate`` differ in their tables alone (``minidl.compute.taps``).
"""

from __future__ import annotations

import math
from typing import Any

from minidl.compute import reference, taps
from minidl.compute.arrays import Array
from minidl.compute.dispatch import run
from minidl.compute.taps import Taps
from minidl.compute.windows import pair
from minidl.errors import ArgumentError, DtypeError, ShapeError, message
from minidl.functional.shape import permute, reshape, unsqueeze
from minidl.kinds import Linear
from minidl.tensor import Tensor, as_tensor

MODES = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")

OF_SIGNALS = {"nearest": "nearest", "nearest-exact": "nearest-exact", "linear": "bilinear",
              "area": "area"}
"""The modes for (N, C, W), and what they are for an image of one row."""


class Resample(Linear):
    """Mix rows, then columns; the adjoint mixes by the transposed tables."""

    def __init__(self, down: Taps, across: Taps):
        self.down, self.across = down, across

    def apply(self, x: Array) -> Array:
        if x.dtype.kind != "f" and not (self.down.picks and self.across.picks):
            raise DtypeError(
                message(
                    "resizing and averaging: pixels of integers cannot be mixed",
                    f"received an image of {x.dtype}, shape {x.shape}",
                    hint='convert first, x.astype(numpy.float32), or use mode="nearest".',
                )
            )
        return run(reference.resample, x, down=self.down, across=self.across)

    def adjoint(self, y: Array) -> Array:
        return self.transposed().apply(y)

    def transposed(self) -> Resample:
        return Resample(self.down.transposed, self.across.transposed)


def resample(x: Tensor, down: Taps, across: Taps) -> Tensor:
    """Apply one table along H and one along W, (..., C, H, W) -> (..., C, I, J)."""
    if x.ndim == 3:
        y = Resample(down, across)(unsqueeze(x, 0))
        return reshape(y, y.shape[1:])
    return Resample(down, across)(x)


def interpolate(
    x: Any,
    size: int | tuple[int, int] | None = None,
    scale_factor: float | tuple[float, float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize images, or signals.

    (N, C, H, W) -> (N, C, I, J); (N, C, W) -> (N, C, J)

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (N, C, W)
    size : int or (I, J), optional
        The new size in pixels; either this or ``scale_factor``.
    scale_factor : float or (float, float), optional
        I = floor(H * scale_factor).
    mode : {"nearest", "nearest-exact", "linear", "bilinear", "bicubic", "area"}
        ``"area"`` is ``adaptive_avg_pool2d``; ``"linear"`` is for signals.
    align_corners : bool, optional
        Whether the centres of the corner pixels stay where they are (True) or
        the corners of the image do (False, and None). Linear, bilinear and bicubic only.
    recompute_scale_factor : bool, optional
        Use the exact ratio of the sizes, not the scale factor as given.
    antialias : bool
        When shrinking, widen the kernel so that no pixel is skipped. Bilinear
        and bicubic only; bicubic then has a = -0.5, otherwise -0.75.

    Raises
    ------
    ArgumentError
        If the mode is unknown or does not take a given option.
    NotImplementedError
        For volumes.

    Notes
    -----
    Linear; separable, so T taps per axis cost 2 T multiplications a pixel.
    """
    x = as_tensor(x)
    if x.ndim == 3 and mode in OF_SIGNALS:
        size, scale_factor = (_of_one_row(s) for s in (size, scale_factor))
        y = interpolate(unsqueeze(x, 2), size, scale_factor, OF_SIGNALS[mode], align_corners,
                        recompute_scale_factor, antialias)
        return reshape(y, (*y.shape[:2], y.shape[3]))
    _check_mode(mode, align_corners, antialias)
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ShapeError(
            message(
                "interpolate: x must be images with the axes (N, C, H, W), or signals, (N, C, W)",
                f'received shape {x.shape}, mode="{mode}"',
                hint=f"signals are resized by {list(OF_SIGNALS)}.",
            )
        )
    (i, j), scales = _target(x.shape[2:], size, scale_factor)
    if recompute_scale_factor:
        scales = (None, None)
    corners = bool(align_corners)
    down, across = (
        _table(mode, before, after, scale, corners, antialias)
        for before, after, scale in zip(x.shape[2:], (i, j), scales, strict=True)
    )
    return Resample(down, across)(x)


def _table(
    mode: str, size: int, count: int, scale: float | None, corners: bool, antialias: bool
) -> Taps:
    if antialias and mode == "bilinear":
        return taps.antialiased(taps.triangle, 1, size, count, scale, corners)
    if antialias:
        return taps.antialiased(taps.cubic, 2, size, count, scale, corners)
    if mode == "area":
        return taps.adaptive_means(size, count)
    if mode.startswith("nearest"):
        return taps.nearest(size, count, scale, exact=mode == "nearest-exact")
    table = taps.bilinear if mode == "bilinear" else taps.bicubic
    return table(size, count, scale, corners)


def _of_one_row(setting: Any) -> Any:
    """Write a size or a scale of signals as that of images of one row."""
    if setting is None:
        return None
    (across,) = setting if isinstance(setting, tuple | list) else (setting,)
    return (1, across)


def _check_mode(mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode == "trilinear":
        raise NotImplementedError('interpolate: mode="trilinear"; minidl resizes no volumes')
    if mode == "linear":
        raise ShapeError('interpolate: mode="linear" is for signals, (N, C, W); see "bilinear"')
    if mode not in MODES:
        raise ArgumentError(
            message(f"interpolate: unknown mode {mode!r}", hint=f"choose one of {MODES}.")
        )
    smooth = mode in ("bilinear", "bicubic")
    if not smooth and (align_corners is not None or antialias):
        raise ArgumentError(
            message(
                "interpolate: align_corners and antialias are for bilinear and bicubic",
                f'received mode="{mode}", align_corners={align_corners}, antialias={antialias}',
            )
        )


def _target(
    image: tuple[int, ...], size: Any, scale_factor: Any
) -> tuple[tuple[int, int], tuple[float | None, float | None]]:
    if (size is None) == (scale_factor is None):
        raise ArgumentError(
            message(
                "interpolate: give either size or scale_factor",
                f"received size={size}, scale_factor={scale_factor}",
            )
        )
    if size is not None:
        i, j = pair("interpolate: size", size, 1)
        return (i, j), (None, None)
    given = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * 2
    i, j = (taps.resized(s, f) for s, f in zip(image, given, strict=True))
    if min(i, j) < 1:
        raise ShapeError(
            message(
                "interpolate: the output would be empty",
                f"the image has (H, W) = {tuple(image)}, scale_factor is {scale_factor}",
            )
        )
    return (i, j), (float(given[0]), float(given[1]))


def pixel_shuffle(x: Any, upscale_factor: int) -> Tensor:
    """Move channels to pixels: (N, C r r, H, W) -> (N, C, H r, W r).

    Source: Shi et al. 2016, "Real-time single image and video super-resolution
    using an efficient sub-pixel convolutional neural network", equation 4.
    """
    x, r = as_tensor(x), upscale_factor
    *batch, channels, h, w = _image("pixel_shuffle", x)
    if r < 1 or channels % (r * r):
        raise ShapeError(
            message(
                "pixel_shuffle: the channels must divide by upscale_factor squared",
                f"x has {channels} channels, upscale_factor is {r}",
            )
        )
    n, c = math.prod(batch), channels // (r * r)
    parts = reshape(x, (n, c, r, r, h, w))
    return reshape(permute(parts, (0, 1, 4, 2, 5, 3)), (*batch, c, h * r, w * r))


def pixel_unshuffle(x: Any, downscale_factor: int) -> Tensor:
    """Move pixels to channels, undoing ``pixel_shuffle``: (N, C, H r, W r) -> (N, C r r, H, W)."""
    x, r = as_tensor(x), downscale_factor
    *batch, channels, h, w = _image("pixel_unshuffle", x)
    if r < 1 or h % r or w % r:
        raise ShapeError(
            message(
                "pixel_unshuffle: H and W must divide by downscale_factor",
                f"x has (H, W) = {(h, w)}, downscale_factor is {r}",
            )
        )
    parts = reshape(x, (math.prod(batch), channels, h // r, r, w // r, r))
    moved = permute(parts, (0, 1, 3, 5, 2, 4))
    return reshape(moved, (*batch, channels * r * r, h // r, w // r))


def _image(who: str, x: Tensor) -> tuple[int, ...]:
    if x.ndim < 3:
        raise ShapeError(f"{who}: x needs the axes (..., C, H, W), received shape {x.shape}")
    return x.shape
