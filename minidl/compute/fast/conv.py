"""Convolution on a CPU: blocks of rows, each a few products of matrices.

Images are kept channels last, (N, H, W, C), so that the channels of a pixel lie
together. A task is a block small enough for the second-level cache: some output
rows of one image, or several small images whole. For it,

    shifted[h, j, (l, c)] = x[h, j * stride + l * dilation - padding, c]

is copied once: each input row, with the L taps of a window side by side. Then

    y[(i, j), o] = sum over k of  shifted[i * stride + k * dilation, j] @ w[k, (l, c), o]

is K matrix products, and the weights' gradient is K products of the transposed.

The gradient of x is no second algorithm. Pixel h receives tap k of window i
when h = i * stride + k * dilation - padding: among the pixels of one phase
(h + padding) mod stride always the same taps, at windows that step by one. So
each phase is a convolution of y with those taps, turned around.

Weights (O, C, K, L) are wanted as (K, L, C, O) in memory, which is how layers keep
them and how their gradient comes out; others are copied. Where a map is small and
the weights are many, ``small_maps`` reads these only once for all images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minidl.compute import buffers, threads
from minidl.compute.arrays import Array
from minidl.compute.fast import small_maps
from minidl.compute.fast.axis import Axis, axes_of
from minidl.compute.fast.small_maps import WORTH_THREADS
from minidl.compute.layout import channels_last
from minidl.compute.reference import conv as reference
from minidl.compute.windows import Windows

BLOCK = 2**20
"""Bytes of ``shifted`` in one task: about one core's second-level cache."""

SHARES = 16
"""Blocks that small images are spread over at least, so that all cores get some."""

FEW_PIXELS = 25
"""The most windows of a map whose product with a turned matrix costs less than turning it."""

CHUNKS = 8
"""Partial sums of the weights' gradient: a fixed number, so that the result is
the same bit for bit on any number of cores."""


class Block(NamedTuple):
    """Some output rows of some images."""

    images: slice
    rows: slice

    @property
    def where(self) -> tuple[slice, slice]:
        """The block as an index of (N, I, J, O)."""
        return self.images, self.rows


def conv2d_y(x: Array, w: Array, windows: Windows, groups: int = 1) -> Array:
    """Convolve, (N, C, H, W) * (O, C, K, L) -> (N, O, I, J), channels last in memory."""
    if groups > 1 or x.size == 0 or w.size == 0:
        return reference.conv2d_y(x, w, windows, groups)
    images = channels_last(x)
    if windows.kernel != (1, 1) and small_maps.fit(windows, w.shape[0] * w.shape[1]):
        return small_maps.conv2d_y(images, _by_tap(w), windows).transpose(0, 3, 1, 2)
    y = buffers.result((len(x), *windows.output, len(w)), x.dtype)
    _correlate(images, w.transpose(2, 3, 1, 0), y, *axes_of(windows))
    return y.transpose(0, 3, 1, 2)


def conv2d_x(w: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Transpose that, (O, C, K, L) * (N, O, I, J) -> (N, C, H, W), channels last in memory."""
    if groups > 1 or y.size == 0 or w.size == 0:
        return reference.conv2d_x(w, y, windows, groups)
    outputs = channels_last(y)
    if windows.kernel != (1, 1) and small_maps.fit(windows, w.shape[0] * w.shape[1]):
        return small_maps.conv2d_x(_by_tap(w), outputs, windows).transpose(0, 3, 1, 2)
    x = buffers.result((len(y), *windows.image, w.shape[1]), y.dtype)
    rows = [*_phases(0, windows)]
    columns = [*_phases(1, windows)]
    if len(rows) * len(columns) < math.prod(windows.stride):
        x[...] = 0  # some phases are under no tap
    weight = w.transpose(2, 3, 0, 1)
    for pixels_h, taps_h, axis_h in rows:
        for pixels_w, taps_w, axis_w in columns:
            turned = weight[taps_h, taps_w][::-1, ::-1]
            _correlate(outputs, turned, x[:, pixels_h, pixels_w], axis_h, axis_w)
    return x.transpose(0, 3, 1, 2)


def conv2d_w(x: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Sum the weights' gradient, (N, C, H, W) * (N, O, I, J) -> (O, C, K, L).

    It lies in memory as (K, L, C, O), as the products leave it.
    """
    if groups > 1 or x.size == 0 or y.size == 0:
        return reference.conv2d_w(x, y, windows, groups)
    images, outputs = channels_last(x), channels_last(y)
    n, i, j, o = outputs.shape
    (k, l), c = windows.kernel, x.shape[1]
    if small_maps.fit_w(windows, c * o):
        return small_maps.conv2d_w(images, outputs, windows).transpose(3, 2, 0, 1)
    down, across = axes_of(windows)
    alone = k * l * c * y.size < WORTH_THREADS
    blocks = _blocks(n, i, l * c * j * down.stride * x.itemsize, alone)
    each, longer = divmod(len(blocks), CHUNKS)
    edges = [each * chunk + min(chunk, longer) for chunk in range(CHUNKS + 1)]
    chunks = [blocks[a:b] for a, b in pairwise(edges) if a < b]

    def add_up(chunk: list[Block]) -> Array:
        w = np.zeros((k, l * c, o), x.dtype)
        for block in chunk:
            shifted = _shifted(images, block, (k, l), j, down, across)
            here = outputs[block.where].reshape(-1, o)
            for tap in range(k):
                w[tap] += _rows(shifted, tap, block, down).T @ here
        return w

    w, *others = threads.each(add_up, chunks, alone)
    for part in others:
        w += part
    return w.reshape(k, l, c, o).transpose(3, 2, 0, 1)


def _correlate(x: Array, w: Array, y: Array, down: Axis, across: Axis) -> None:
    """Fill y (N, I, J, O) from x (N, H, W, C) and w (K, L, C, O)."""
    n, i, j, o = y.shape
    k, l, c = w.shape[:3]
    if not y.size:
        return
    if not w.size:
        y[...] = 0
        return
    few = k * l == 1 and i * j <= FEW_PIXELS
    weight = (w if few else np.ascontiguousarray(w)).reshape(k, l * c, o)

    def fill(block: Block) -> None:
        shifted = _shifted(x, block, (k, l), j, down, across)
        target = y[block.where]
        shape = (target.size // o, o)
        whole = target.flags.c_contiguous
        out = target.reshape(shape) if whole else buffers.scratch("out", shape, y.dtype)
        np.matmul(_rows(shifted, 0, block, down), weight[0], out=out)
        term = buffers.scratch("term", out.shape, y.dtype) if k > 1 else out
        for tap in range(1, k):
            np.matmul(_rows(shifted, tap, block, down), weight[tap], out=term)
            np.add(out, term, out=out)
        if not whole:
            target[...] = out.reshape(target.shape)

    alone = k * l * c * y.size < WORTH_THREADS
    threads.each(fill, _blocks(n, i, l * c * j * down.stride * x.itemsize, alone), alone)


def _shifted(
    x: Array, block: Block, taps: tuple[int, int], j: int, down: Axis, across: Axis
) -> Array:
    """Copy the taps of a row side by side, (images, rows, J, L * C), for _rows to pick from."""
    (k, l), (images, rows) = taps, block
    _, h, w, c = x.shape
    first = down.start + rows.start * down.stride
    reach = (rows.stop - rows.start - 1) * down.stride + (k - 1) * down.dilation + 1
    low, high = min(max(-first, 0), reach), max(min(h - first, reach), 0)
    if l == 1 and (across.start, across.stride) == (0, 1) and (low, high, w) == (0, reach, j):
        return x[images, first : first + reach]
    shape = (images.stop - images.start, reach, j, l, c)
    shifted = buffers.scratch("shifted", shape, x.dtype)
    shifted[:, :low] = 0
    shifted[:, max(high, low) :] = 0
    if low < high:
        source = x[images, first + low : first + high]
        for tap in range(l):
            inside = across.inside(tap, w, j)
            target = shifted[:, low:high, :, tap]
            target[:, :, : inside.start] = 0
            target[:, :, inside.stop :] = 0
            if inside.start < inside.stop:
                target[:, :, inside] = source[:, :, across.at(tap, inside)]
    return shifted.reshape(*shape[:3], l * c)


def _rows(shifted: Array, tap: int, block: Block, down: Axis) -> Array:
    """Return the rows under vertical tap ``tap`` as one matrix, (images I J, L C)."""
    top = tap * down.dilation
    count = block.rows.stop - block.rows.start
    rows = shifted[:, top : top + (count - 1) * down.stride + 1 : down.stride]
    return rows.reshape(-1, shifted.shape[-1])


def _blocks(n: int, rows: int, row_bytes: int, alone: bool) -> list[Block]:
    """Cut the work into blocks that fit the cache: some rows, or several small images whole."""
    whole = BLOCK // max(rows * row_bytes, 1)
    if whole > 1:
        together = whole if alone else min(whole, -(-n // SHARES))
        edges = range(0, n, together)
        return [Block(slice(e, min(e + together, n)), slice(0, rows)) for e in edges]
    pieces = min(max(-(-rows * row_bytes // BLOCK), 1), rows)
    cuts = [rows * p // pieces for p in range(pieces + 1)]
    return [Block(slice(i, i + 1), slice(a, b)) for i in range(n) for a, b in pairwise(cuts)]


def _phases(axis: int, windows: Windows) -> Iterator[tuple[slice, slice, Axis]]:
    """Yield the pixels of each phase, its taps, and where these lie, turned around, on y.

    Phases without a tap are left out: with a stride of a thousand there are many.
    """
    stride, dilation = windows.stride[axis], windows.dilation[axis]
    padding, size = windows.padding[axis], windows.image[axis]
    shared = math.gcd(stride, dilation)
    step = stride // shared
    for tap in range(min(step, windows.kernel[axis])):  # each is the first of a phase's taps
        first = (tap * dilation - padding) % stride  # the first pixel of this phase
        taps = slice(tap, windows.kernel[axis], step)
        number = len(range(windows.kernel[axis])[taps])
        window = (first + padding) // stride - (tap * dilation) // stride
        spread = dilation // shared
        yield (
            slice(first, size, stride),
            taps,
            Axis(window - (number - 1) * spread, 1, spread),
        )


def _by_tap(w: Array) -> Array:
    """Order (O, C, K, L) as (K, L, C, O), each tap a matrix that BLAS can read, or its transposed.

    Layers keep their weights so; others are copied, (O, C) a tap, which strides less.
    """
    weight = w.transpose(2, 3, 1, 0)
    if weight.flags.c_contiguous:
        return weight
    return np.ascontiguousarray(weight.swapaxes(2, 3)).swapaxes(2, 3)
