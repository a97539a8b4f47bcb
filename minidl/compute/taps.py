"""Taps: how each pixel of a resized row is mixed from pixels of the original row.

    y[i] = sum over t of  weight[i, t] * x[index[i, t]]

Nearest, bilinear and bicubic interpolation, antialiased or not, and average
pooling differ in these two tables and in nothing else; a picture is resized by
one table down its columns and one along its rows. The tables turned around
(``transposed``) give the adjoint, again as a sum of what each pixel gathers.

Sources: the coordinates are PyTorch's; the cubic kernel is Keys 1981, "Cubic
convolution interpolation for digital image processing", equation 4, with
a = -0.75 (OpenCV, PyTorch) or, antialiased, a = -0.5 (Pillow, PyTorch, MATLAB).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from minidl.compute.windows import count_windows


@dataclass(frozen=True, eq=False)
class Taps:
    """The mixture of each output pixel along one axis.

    Attributes
    ----------
    size : int
        Pixels of the original.
    index : array of int, shape (I, T)
        Which of them each output pixel looks at.
    weight : array of float64, shape (I, T)
        How much it takes of each.
    """

    size: int
    index: np.ndarray
    weight: np.ndarray

    @property
    def count(self) -> int:
        """Pixels of the output, I."""
        return len(self.index)

    @cached_property
    def matrix(self) -> np.ndarray:
        """The table as a matrix, (I, size)."""
        matrix = np.zeros((self.count, self.size))
        np.add.at(matrix, (np.arange(self.count)[:, None], self.index), self.weight)
        return matrix

    @cached_property
    def picks(self) -> bool:
        """Whether every output pixel is one pixel of the original, unchanged."""
        return self.index.shape[1] == 1 and bool((self.weight == 1).all())

    @cached_property
    def transposed(self) -> Taps:
        """The taps of the adjoint: what each original pixel gathers from the output."""
        turned = self.matrix.T
        width = max(int((turned != 0).sum(1).max(initial=0)), 1)
        # The nonzero places first; where a row has fewer, weight 0 fills up.
        index = np.argsort(turned == 0, axis=1, kind="stable")[:, :width]
        return Taps(self.count, index, np.take_along_axis(turned, index, 1))

    @property
    def is_identity(self) -> bool:
        """Whether every pixel stays as it is."""
        return self.count == self.size and np.array_equal(self.matrix, np.eye(self.size))


def _coordinates(size: int, count: int, scale: float | None, align_corners: bool) -> np.ndarray:
    """Place the centres of the output pixels, in original pixels."""
    i = np.arange(count)
    if align_corners:
        return i * ((size - 1) / (count - 1) if count > 1 else 0.0)
    return (i + 0.5) * _step(size, count, scale) - 0.5


def _step(size: int, count: int, scale: float | None) -> float:
    """Count original pixels per output pixel, by the scale that was asked for, if one was."""
    return 1 / scale if scale else size / count


@lru_cache(maxsize=256)
def nearest(size: int, count: int, scale: float | None = None, exact: bool = False) -> Taps:
    """Take the pixel at floor(i * step), or with ``exact`` the one under the centre."""
    i = np.arange(count) + (0.5 if exact else 0.0)
    index = np.minimum(np.floor(i * _step(size, count, scale)).astype(np.int64), size - 1)
    return Taps(size, index[:, None], np.ones((count, 1)))


@lru_cache(maxsize=256)
def bilinear(
    size: int, count: int, scale: float | None = None, align_corners: bool = False
) -> Taps:
    """Draw a straight line between the two nearest pixels; the border continues flat."""
    x = np.clip(_coordinates(size, count, scale, align_corners), 0, size - 1)
    left = np.floor(x).astype(np.int64)
    share = x - left
    index = np.stack([left, np.minimum(left + 1, size - 1)], 1)
    return Taps(size, index, np.stack([1 - share, share], 1))


@lru_cache(maxsize=256)
def bicubic(
    size: int, count: int, scale: float | None = None, align_corners: bool = False
) -> Taps:
    """Draw a cubic through the four nearest pixels; the border continues flat."""
    x = _coordinates(size, count, scale, align_corners)
    offsets = np.floor(x).astype(np.int64)[:, None] + np.arange(-1, 3)
    weight = cubic(x[:, None] - offsets, -0.75)
    return Taps(size, np.clip(offsets, 0, size - 1), weight)


def triangle(x: np.ndarray) -> np.ndarray:
    """Evaluate the kernel of linear interpolation."""
    return np.maximum(1 - np.abs(x), 0)


def cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Evaluate Keys' kernel; ``a`` is its slope at 1."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


@lru_cache(maxsize=256)
def antialiased(
    kernel: Callable[[np.ndarray], np.ndarray],
    radius: int,
    size: int,
    count: int,
    scale: float | None = None,
    align_corners: bool = False,
) -> Taps:
    """Stretch the kernel over all pixels that shrink into one, so that none is skipped."""
    if align_corners:
        step = (size - 1) / (count - 1) if count > 1 else 0.0
    else:
        step = _step(size, count, scale)
    stretch = max(step, 1.0)
    centre = step * (np.arange(count) + 0.5)
    reach = radius * stretch
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), size)
    offsets = first[:, None] + np.arange(max(int((last - first).max(initial=1)), 1))
    weight = kernel((offsets - centre[:, None] + 0.5) / stretch)
    weight = np.where(offsets < last[:, None], weight, 0.0)
    total = weight.sum(1, keepdims=True)
    weight = weight / np.where(total == 0, 1, total)
    return Taps(size, np.clip(offsets, 0, size - 1), weight)


@lru_cache(maxsize=256)
def matlab_bicubic(
    size: int, count: int, scale: float | None = None, antialias: bool = True
) -> Taps:
    """Use Keys' kernel as MATLAB's imresize does: beyond the border the image is mirrored.

    The edge pixels are repeated (..., 2, 1, 1, 2, ...), whereas ``antialiased`` leaves out what
    is not there. When shrinking, the kernel is widened, unless ``antialias`` is False.
    """
    s = scale or count / size
    narrowed = min(s, 1.0) if antialias else 1.0
    reach = 2 / narrowed
    centre = np.arange(1, count + 1) / s + 0.5 * (1 - 1 / s)  # pixels are counted from 1
    first = np.floor(centre - reach).astype(np.int64)
    places = first[:, None] + np.arange(math.ceil(2 * reach) + 2)
    weight = cubic(narrowed * (centre[:, None] - places))
    weight = weight / weight.sum(1, keepdims=True)
    folded = (places - 1) % (2 * size)
    index = np.minimum(folded, 2 * size - 1 - folded)
    used = weight.any(0)
    return Taps(size, index[:, used], weight[:, used])


@lru_cache(maxsize=256)
def means(
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    ceil_mode: bool,
    count_padding: bool,
    total: bool = False,
) -> Taps:
    """Take the mean of a window (average pooling), or with ``total`` its sum.

    With ``count_padding`` the zeros around the image count as pixels, though not
    those that ``ceil_mode`` adds beyond them.
    """
    count = count_windows(size, kernel, stride, padding, padding, 1, ceil_mode)
    first = np.arange(count) * stride - padding
    last = np.minimum(first + kernel, size + padding)
    low, high = np.maximum(first, 0), np.minimum(last, size)
    return _runs(size, low, high, np.ones(count) if total else
                 last - first if count_padding else high - low)


@lru_cache(maxsize=256)
def adaptive_means(size: int, count: int) -> Taps:
    """Make output pixel i the mean of pixels floor(i size / I) to ceil((i + 1) size / I)."""
    i = np.arange(count)
    low, high = i * size // count, -(-(i + 1) * size // count)
    return _runs(size, low, high, high - low)


def _runs(size: int, low: np.ndarray, high: np.ndarray, divisor: np.ndarray) -> Taps:
    """Give equal weights 1 / divisor to pixels low, ..., high - 1."""
    index = low[:, None] + np.arange(max(int((high - low).max(initial=1)), 1))
    inside = index < high[:, None]
    weight = inside / np.maximum(divisor, 1)[:, None]
    return Taps(size, np.clip(index, 0, max(size - 1, 0)), weight)


def resized(size: int, scale: float) -> int:
    """Count the pixels that ``size`` pixels become at a scale."""
    return math.floor(size * scale)
