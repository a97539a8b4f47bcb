"""Padding: elements around the last axes, of a fixed value or of x's own.

All of it is linear, but for the value. An image that is mirrored, or whose edge is repeated, is
resampled: each pixel of the result is one pixel of the image, and the adjoint sums what each pixel
gave, in a fixed order. So it is done by what resizes images (``minidl.functional.resample``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.counts import wholes
from minidl.compute.dtypes import total
from minidl.compute.taps import Taps
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.index import Slice
from minidl.functional.resample import Resample
from minidl.functional.shape import reshape
from minidl.kinds import Linear
from minidl.tensor import Tensor, as_tensor


class Pad(Linear):
    """Add zeros around; the adjoint crops them away."""

    def __init__(self, shape: tuple[int, ...], widths: Sequence[tuple[int, int]]):
        self.widths = tuple(widths)
        self.inside = tuple(
            slice(before, before + size)
            for (before, _), size in zip(self.widths, shape, strict=True)
        )

    def apply(self, x: Array) -> Array:
        sizes = zip(x.shape, self.widths, strict=True)
        # In the memory layout of x.
        y = xp_of(x).zeros_like(x, shape=tuple(size + sum(both) for size, both in sizes))
        y[self.inside] = x
        return y

    def adjoint(self, y: Array) -> Array:
        return y[self.inside]


class PadFrom(Linear):
    """Put copies of x's own elements around it, along one axis; the adjoint adds them back.

    Parameters
    ----------
    before, size : int
        Where x lies in the result, and its length.
    places : array of int
        For every element of the result the one of x. Those before x are all different or all the
        same, and so are those behind it: a sum on each side will do, where a scatter would be slow.
    """

    def __init__(self, axis: int, before: int, size: int, places: np.ndarray):
        self.ahead = (slice(None),) * axis
        self.axis, self.inside = axis, slice(before, before + size)
        self.places = places

    def apply(self, x: Array) -> Array:
        return x[(*self.ahead, xp_of(x).asarray(self.places))]

    def adjoint(self, y: Array) -> Array:
        x = y[(*self.ahead, self.inside)].copy()
        for side in (slice(self.inside.start), slice(self.inside.stop, None)):
            places, outer = self.places[side], y[(*self.ahead, side)]
            if len(set(places)) < len(places):
                places, outer = places[:1], total(outer, self.axis, True)
            if len(places):
                x[(*self.ahead, xp_of(x).asarray(places))] += outer
        return x


class PadImage(Resample):
    """Put copies of an image's own pixels around it, by a table for rows and one for columns."""


def pad(x: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Add elements around the last axes.

    Parameters
    ----------
    x : Tensor
    pad : sequence of an even number of integers
        (before, after) for the last axis, then for the one before it, and so on:
        (left, right, top, bottom) for images. Negative widths crop.
    mode : {"constant", "reflect", "replicate", "circular"}
        What to fill with: ``value``; the image mirrored at its edge pixels; the
        edge pixels; the image again, from its other side.
    value : float
        For ``"constant"``.

    Raises
    ------
    ArgumentError
        For an odd number of widths, or one that is no integer, an unknown mode, or more padding
        than the image can be mirrored or wrapped into.
    """
    x = as_tensor(x)
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ArgumentError(
            message(
                "pad: give two widths, (before, after), for each axis from the last one back",
                f"x has {x.ndim} axes, pad is {tuple(pad)}",
            )
        )
    widths = [(0, 0)] * x.ndim
    for back in range(len(pad) // 2):
        before, after = wholes("pad: a width", pad[2 * back : 2 * back + 2], None)
        widths[x.ndim - 1 - back] = (before, after)
    x, widths = _crop(x, widths, least=1 if mode == "replicate" else 0)
    if not any(map(any, widths)):
        return x
    if mode == "constant":
        padded = Pad(x.shape, widths)(x)
        return padded if value == 0 else padded + _frame(x, widths, value)
    if mode not in _SOURCE:
        raise ArgumentError(
            message(f"pad: unknown mode {mode!r}", hint=f'choose "constant" or {list(_SOURCE)}.')
        )
    sources = [_sources(mode, size, *both) for size, both in zip(x.shape, widths, strict=True)]
    if x.dtype.kind == "f" and 2 <= x.ndim <= 4 and not any(map(any, widths[:-2])):
        return _pad_image(x, *sources[-2:])
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = PadFrom(axis, before, x.shape[axis], sources[axis].index[:, 0])(x)
    return x


def _pad_image(x: Tensor, down: Taps, across: Taps) -> Tensor:
    if x.ndim == 4:
        return PadImage(down, across)(x)
    y = PadImage(down, across)(reshape(x, (1,) * (4 - x.ndim) + x.shape))
    return reshape(y, y.shape[4 - x.ndim :])


@lru_cache(maxsize=256)
def _sources(mode: str, size: int, before: int, after: int) -> Taps:
    """The table of what each element of a padded axis is a copy of."""
    places = np.arange(-before, size + after)
    if before or after:
        places = _SOURCE[mode](places, size, max(before, after))
    return Taps(size, places[:, None], np.ones((len(places), 1)))


def _crop(
    x: Tensor, widths: list[tuple[int, int]], least: int
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Cut away what negative widths ask for, and return what is to be added afterwards.

    At least ``least`` elements of each axis stay: an edge that is to be repeated.
    """
    if all(w >= 0 for both in widths for w in both):
        return x, widths
    kept, added = [], []
    for (before, after), size in zip(widths, x.shape, strict=True):
        start, stop = min(max(-before, 0), size - least), max(size + min(after, 0), least)
        front, back = before + start, after + size - stop  # below 0: still to be cut, over there
        kept.append(slice(start, stop))
        added.append((max(front, 0) + min(back, 0), max(back, 0) + min(front, 0)))
    if any(k.start > k.stop for k in kept):
        raise ShapeError(
            message("pad: negative widths crop more than there is", f"x has shape {x.shape}")
        )
    return Slice(x.shape, tuple(kept))(x), added


def _frame(x: Tensor, widths: list[tuple[int, int]], value: float) -> Tensor:
    """Make a frame with ``value`` in the padding and 0 where x goes."""
    xp = xp_of(x.data)
    return Tensor(xp.pad(xp.zeros_like(x.data), widths, constant_values=value))


def _mirrored(places: np.ndarray, size: int, width: int) -> np.ndarray:
    if width >= size:
        raise ArgumentError(
            message(
                "pad: reflect needs padding smaller than the image",
                f"the axis has {size} pixels, the padding {width}",
            )
        )
    return (size - 1) - np.abs((size - 1) - np.abs(places))


def _repeated(places: np.ndarray, size: int, width: int) -> np.ndarray:
    if not size:
        raise ArgumentError("pad: replicate needs an edge to repeat, an axis has 0 pixels")
    return np.clip(places, 0, size - 1)


def _wrapped(places: np.ndarray, size: int, width: int) -> np.ndarray:
    if width > size:
        raise ArgumentError(
            message(
                "pad: circular cannot go round more than once",
                f"the axis has {size} pixels, the padding {width}",
            )
        )
    return places % size


_SOURCE = {
    "reflect": _mirrored,
    "replicate": _repeated,
    "circular": _wrapped,
}
