"""Launches pool.cu: where the maximum of each window is, and moving values to and from there.

The names, arguments and results are those of ``minidl.compute.reference.pool``. From the second
rung on, channels last images are read, and results left, as they lie in memory.
"""

from __future__ import annotations

from math import prod

from minidl.compute.arrays import Array, xp_of
from minidl.compute.windows import Windows
from minidl.cuda.ladder import climb, rung
from minidl.cuda.launch import launch
from minidl.cuda.prepare import is_nhwc

THREADS = 256
"""Of a block."""

CHUNK = 128
"""Windows in a range, as in bins.cuh."""

BIN = 4096
"""Bytes of sums that a warp keeps in shared memory."""


def max_pool2d_index(x: Array, windows: Windows) -> Array:
    """(N, C, H, W) -> (N, C, I, J) of int64; see the reference."""
    return climb("max_pool2d_index", x, windows=windows)


def pick_windows(x: Array, index: Array) -> Array:
    """(N, C, H, W), (N, C, I, J) -> (N, C, I, J)."""
    return climb("pick_windows", x, index)


def put_windows(y: Array, index: Array, size: tuple[int, int]) -> Array:
    """(N, C, I, J), (N, C, I, J) -> (N, C, H, W), with zeros where nothing was put."""
    return climb("put_windows", y, index, size=size)


# Layouts.


def _memory(x, last):
    """The array in the order of its memory, as pool.cu describes it."""
    return x.transpose(0, 2, 3, 1) if last else x


def _empty(xp, shape, dtype, last):
    """New memory for an array of this shape, in the order of the memory."""
    n, c, h, w = shape
    return xp.empty((n, h, w, c) if last else shape, dtype)


def _logical(x, last):
    return x.transpose(0, 3, 1, 2) if last else x


def _planes(shape, last):
    """B planes, in each of which S channels lie side by side."""
    n, c = shape[:2]
    return {"B": n, "S": c} if last else {"B": n * c, "S": 1}


def _launch(kernel, threads, **arguments):
    launch(kernel, -(-threads // THREADS), THREADS, **arguments)


# The rungs: where the maximum is.


def _unrolled(x, windows):
    fits = windows.kernel in ((2, 2), (3, 3))
    return "" if fits else "only windows of 2 x 2 and 3 x 3 are unrolled"


@rung("max_pool2d_index", 1)
def max_pool2d_index_v1_naive(x, windows):
    n, c = x.shape[:2]
    index = xp_of(x).full((n, c, *windows.output), -1, "int64")
    if x.size and index.size:
        settings = {"windows": windows, "N": n, "C": c}
        _launch("max_pool2d_index_v1_naive", index.size, x=x, index=index, **settings)
    return index


@rung("max_pool2d_index", 2)
def max_pool2d_index_v2_either_layout(x, windows):
    return _index("max_pool2d_index_v2_either_layout", x, windows)


@rung("max_pool2d_index", 3, fits=_unrolled)
def max_pool2d_index_v3_unrolled(x, windows):
    return _index("max_pool2d_index_v3_unrolled", x, windows)


def _index(kernel, x, windows):
    last = is_nhwc(x)
    index = _empty(xp_of(x), (*x.shape[:2], *windows.output), "int64", last)
    if not x.size:  # nothing but padding
        index[...] = -1
    elif index.size:
        settings = {"windows": windows, **_planes(x.shape, last)}
        _launch(kernel, index.size, x=_memory(x, last), index=index, **settings)
    return _logical(index, last)


# The rungs: picking.


@rung("pick_windows", 1)
def pick_windows_v1_naive(x, index):
    y = xp_of(x).empty(index.shape, x.dtype)
    if y.size:
        sizes = dict(zip("NC", x.shape, strict=False), **_counts(index.shape, x.shape))
        _launch("pick_windows_v1_naive", y.size, x=x, index=_int64(index), y=y, **sizes)
    return y


@rung("pick_windows", 2)
def pick_windows_v2_either_layout(x, index):
    return _pick("pick_windows_v2_either_layout", x, index, 1)


@rung("pick_windows", 3)
def pick_windows_v3_four(x, index):
    return _pick("pick_windows_v3_four", x, index, 4)


def _pick(kernel, x, index, each):
    last = is_nhwc(x)
    y = _empty(xp_of(x), index.shape, x.dtype, last)
    if y.size:
        arrays = {"x": _memory(x, last), "index": _memory(_int64(index), last), "y": y}
        sizes = _planes(x.shape, last) | _counts(index.shape, x.shape)
        _launch(kernel, -(-y.size // each), **arrays, **sizes)
    return _logical(y, last)


# The rungs: putting.


@rung("put_windows", 1)
def put_windows_v1_naive(y, index, size):
    n, c = y.shape[:2]
    x = xp_of(y).zeros((n, c, *size), y.dtype)
    if x.size and y.size:
        sizes = {"N": n, "C": c, **_counts(y.shape, x.shape)}
        _launch("put_windows_v1_naive", x.size, y=y, index=_int64(index), x=x, **sizes)
    return x


@rung("put_windows", 2)
def put_windows_v2_bins(y, index, size):
    xp, last, shape = xp_of(y), is_nhwc(index), (*y.shape[:2], *size)
    x = _empty(xp, shape, y.dtype, last)
    if not x.size or not y.size:
        x[...] = 0
        return _logical(x, last)
    sizes = _planes(shape, last) | _counts(y.shape, shape)
    chunks = sizes["B"] * -(-sizes["S"] * sizes["windows"] // CHUNK)
    bins = sizes["B"] * -(-sizes["S"] * sizes["pixels"] * y.itemsize // BIN)
    ranges = {"lowest": xp.empty(chunks, "int32"), "highest": xp.empty(chunks, "int32")}
    index = xp.ascontiguousarray(_memory(_int64(index), last))
    _launch("put_windows_ranges", chunks * 32, index=index, **ranges, **sizes)
    arrays = {"y": _memory(y, last), "index": index, "x": x}
    _launch("put_windows_v2_bins", bins * 32, **arrays, **ranges, **sizes)
    return _logical(x, last)


def _int64(index):
    return index.astype("int64", copy=False)


def _counts(output, image):
    """Windows and pixels of one channel."""
    return {"windows": prod(output[2:]), "pixels": prod(image[2:])}
