"""Law: what a function gives is what its definition gives, written out as loops.

Hypothesis draws the sizes and settings, and each is run on both codes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minidl
import minidl.functional as F
from minidl.compute.dispatch import CODES

either_code = pytest.mark.parametrize("code", CODES)
Row = Callable[[np.ndarray, int], float]
"""A row and the number of a pixel of the new row: the value of that pixel."""


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


# --- transposed convolution ---


@either_code
@given(pairs(1, 4), pairs(1, 3), pairs(1, 3), pairs(0, 2), pairs(1, 2), pairs(0, 2),
       st.sampled_from([1, 2]))
def test_transposed_convolution_paints_windows(
    code, size, kernel, stride, padding, dilation, extra, groups
):
    assume(all(e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)))
    shape = [
        (size[a] - 1) * stride[a] - 2 * padding[a] + dilation[a] * (kernel[a] - 1) + extra[a] + 1
        for a in (0, 1)
    ]
    assume(min(shape) > 0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2 * groups, *size))
    w = rng.standard_normal((2 * groups, 3, *kernel))
    expected = np.zeros((2, 3 * groups, *shape))
    for n, c, i, j in np.ndindex(x.shape):
        for o, k, l in np.ndindex(w.shape[1:]):
            h = i * stride[0] + k * dilation[0] - padding[0]
            v = j * stride[1] + l * dilation[1] - padding[1]
            if 0 <= h < shape[0] and 0 <= v < shape[1]:
                expected[n, c // 2 * 3 + o, h, v] += x[n, c, i, j] * w[c, o, k, l]
    with minidl.use_kernels(code):
        painted = F.conv_transpose2d(x, w, None, stride, padding, extra, groups, dilation)
    np.testing.assert_allclose(painted.data, expected, atol=1e-12)


# --- pooling ---


@st.composite
def poolings(draw) -> tuple[tuple[int, int], dict]:
    """(H, W), and settings with which at least one window fits."""
    size, kernel = draw(pairs(1, 8)), draw(pairs(1, 4))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    assume(all(s + 2 * p >= k for s, p, k in zip(size, padding, kernel, strict=True)))
    return size, {"kernel_size": kernel, "stride": draw(pairs(1, 3)), "padding": padding,
                  "ceil_mode": draw(st.booleans())}


def starts(size: int, kernel: int, stride: int, padding: int, ceil: bool) -> list[int]:
    """The first pixel of each window, which lies in the padding if it is negative."""
    found = [-padding]
    while True:
        start = found[-1] + stride
        fits = start + kernel <= size + padding
        incomplete = ceil and found[-1] + kernel < size + padding and start < size
        if not (fits or incomplete):
            return found
        found.append(start)


def window_starts(size, settings) -> tuple[list[int], list[int]]:
    rows, columns = (
        starts(size[a], settings["kernel_size"][a], settings["stride"][a],
               settings["padding"][a], settings["ceil_mode"])
        for a in (0, 1)
    )
    return rows, columns


@either_code
@given(poolings(), st.booleans(), st.sampled_from([None, 3]))
def test_average_pooling_is_the_mean_of_each_window(code, pooling, count_include_pad, divisor):
    size, settings = pooling
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    (k, l), (top, left) = settings["kernel_size"], settings["padding"]
    rows, columns = window_starts(size, settings)
    expected = np.zeros((2, 3, len(rows), len(columns)))
    for i, h in enumerate(rows):
        for j, v in enumerate(columns):
            window = x[:, :, max(h, 0) : h + k, max(v, 0) : v + l]
            # What ceil_mode adds beyond the padding is never counted.
            framed = (min(h + k, size[0] + top) - h) * (min(v + l, size[1] + left) - v)
            number = divisor or (framed if count_include_pad else window[0, 0].size)
            expected[:, :, i, j] = window.sum((2, 3)) / number
    with minidl.use_kernels(code):
        y = F.avg_pool2d(x, **settings, count_include_pad=count_include_pad,
                         divisor_override=divisor)
    np.testing.assert_allclose(y.data, expected, atol=1e-12)


@either_code
@given(poolings())
def test_maxima_go_back_to_where_they_were(code, pooling):
    size, settings = pooling
    rng = np.random.default_rng(0)
    x = rng.permutation(6 * size[0] * size[1]).reshape(2, 3, *size).astype(float)
    k, l = settings["kernel_size"]
    rows, columns = window_starts(size, settings)
    expected = np.zeros((2, 3, len(rows), len(columns)))
    back = np.zeros_like(x)
    for n, c, i, j in np.ndindex(expected.shape):
        h, v = rows[i], columns[j]
        best = x[n, c, max(h, 0) : h + k, max(v, 0) : v + l].max()
        expected[n, c, i, j] = best
        back[n, c][x[n, c] == best] = best
    with minidl.use_kernels(code):
        y, index = F.max_pool2d(x, **settings, return_indices=True)
        undone = F.max_unpool2d(y, index, settings["kernel_size"], settings["stride"],
                                settings["padding"], output_size=size)
    np.testing.assert_array_equal(y.data, expected)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(2, 3, -1), index.data.reshape(2, 3, -1), 2).reshape(y.shape),
        expected,
    )
    np.testing.assert_array_equal(undone.data, back)


# --- interpolation ---


def triangle(x: float) -> float:
    return max(1 - abs(x), 0.0)


def keys(a: float) -> Callable[[float], float]:
    """Keys' cubic with slope ``a`` at 1."""

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0

    return kernel


def between_pixels(kernel: Callable[[float], float], step: float, align_corners: bool) -> Row:
    """The kernel over the pixels around the place; the border's pixels go on outside."""

    def value(row, i):
        place = i * step if align_corners else (i + 0.5) * step - 0.5
        near = range(math.floor(place) - 1, math.floor(place) + 3)
        return sum(kernel(place - h) * row[min(max(h, 0), len(row) - 1)] for h in near)

    return value


def over_pixels(kernel: Callable[[float], float], step: float) -> Row:
    """The kernel stretched over what shrinks into one pixel; its weights sum to 1."""

    def value(row, i):
        weights = [kernel((h + 0.5 - (i + 0.5) * step) / max(step, 1.0)) for h in range(len(row))]
        return np.dot(weights, row) / sum(weights)

    return value


def row_of(mode: str, size: int, count: int, step: float, corners: bool, antialias: bool) -> Row:
    if corners:
        step = (size - 1) / (count - 1) if count > 1 else 0.0
    if antialias:
        return over_pixels(triangle if mode == "bilinear" else keys(-0.5), step)
    if mode in ("bilinear", "bicubic"):
        return between_pixels(triangle if mode == "bilinear" else keys(-0.75), step, corners)
    if mode == "area":
        return lambda row, i: row[i * size // count : -(-(i + 1) * size // count)].mean()
    half = 0.5 if mode == "nearest-exact" else 0.0
    return lambda row, i: row[min(math.floor((i + half) * step), size - 1)]


@either_code
@given(
    pairs(1, 7), pairs(1, 9), st.none() | st.sampled_from([0.6, 1.7, 2.0]),
    st.sampled_from(["nearest", "nearest-exact", "area", "bilinear", "bicubic"]),
    st.sampled_from(["plain", "align_corners", "antialias"]),
)
def test_interpolation_is_what_each_mode_says(code, size, target, scale, mode, option):
    smooth = mode in ("bilinear", "bicubic")
    corners, antialias = smooth and option == "align_corners", smooth and option == "antialias"
    if scale is not None:
        target = tuple(math.floor(s * scale) for s in size)
        assume(min(target) > 0)
    steps = [1 / scale if scale and mode != "area" else s / t
             for s, t in zip(size, target, strict=True)]
    down, across = (row_of(mode, size[a], target[a], steps[a], corners, antialias) for a in (0, 1))
    x = np.random.default_rng(0).standard_normal((2, 1, *size))
    expected = np.zeros((2, 1, *target))
    for n, i, j in np.ndindex(2, *target):
        column = np.array([across(row, j) for row in x[n, 0]])
        expected[n, 0, i, j] = down(column, i)
    chosen = {"size": target} if scale is None else {"scale_factor": scale}
    options = {"align_corners": corners, "antialias": antialias} if smooth else {}
    with minidl.use_kernels(code):
        y = F.interpolate(x, **chosen, mode=mode, **options)
    np.testing.assert_allclose(y.data, expected, atol=1e-12)


# --- sampling ---


def folded(place: float, size: int, corners: bool) -> float:
    """Reflected at both ends of the row until it lies inside."""
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    if low == high:
        return low
    while not low <= place <= high:
        place = 2 * low - place if place < low else 2 * high - place
    return place


def brought_inside(place: float, size: int, padding_mode: str, corners: bool) -> float:
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        place = folded(place, size, corners)
    return min(max(place, 0), size - 1)


def taps_of(
    place: float, size: int, mode: str, padding_mode: str, corners: bool
) -> list[tuple[int, float]]:
    """The pixels of a row, or beyond it, that the place is mixed from, and their weights."""
    if mode == "bicubic":  # the pixels are brought inside, not the place
        near = range(math.floor(place) - 1, math.floor(place) + 3)
        return [(round(brought_inside(h, size, padding_mode, corners)), keys(-0.75)(place - h))
                for h in near]
    place = brought_inside(place, size, padding_mode, corners)
    if mode == "nearest":
        return [(round(place), 1.0)]
    return [(h, triangle(place - h)) for h in (math.floor(place), math.floor(place) + 1)]


@either_code
@given(
    pairs(1, 5), st.sampled_from(["bilinear", "nearest", "bicubic"]),
    st.sampled_from(["zeros", "border", "reflection"]), st.booleans(), st.integers(0, 3),
)
def test_sampling_mixes_the_pixels_around_each_point(
    code, size, mode, padding_mode, corners, seed
):
    """Points up to several images away, which reflection folds more than once."""
    rng = np.random.default_rng(seed)
    x, grid = rng.standard_normal((2, 3, *size)), rng.uniform(-7, 7, (2, 2, 3, 2))
    expected = np.zeros((2, 3, 2, 3))
    for n, i, j in np.ndindex(2, 2, 3):
        places = [(grid[n, i, j, 1 - a] + 1) / 2 * (size[a] - 1) if corners else
                  ((grid[n, i, j, 1 - a] + 1) * size[a] - 1) / 2 for a in (0, 1)]
        down, across = (taps_of(places[a], size[a], mode, padding_mode, corners) for a in (0, 1))
        for (h, p), (v, q) in itertools.product(down, across):
            if 0 <= h < size[0] and 0 <= v < size[1]:
                expected[n, :, i, j] += p * q * x[n, :, h, v]
    with minidl.use_kernels(code):
        y = F.grid_sample(x, grid, mode, padding_mode, corners)
    np.testing.assert_allclose(y.data, expected, atol=1e-12)
