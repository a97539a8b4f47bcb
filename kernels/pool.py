"""Launches pool.cu: the maximum of each window and where it is, moving values to and from there.

The names, arguments and results are those of ``minidl.compute.reference.pool``. From the second
rung on, which is that of pool_packs.cu, channels last images are read, and results left, as they
lie in memory.
"""

from __future__ import annotations

from math import prod
from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.compute.layout import is_channels_last
from minidl.compute.windows import Windows
from minidl.cuda.arguments import TO_NHWC
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import launch_each, runs_natively
from minidl.cuda.prepare import WARP, ceil_div, empty
from minidl.cuda.source import constants, folder, source_of
from minidl.kernels.packs import SHARE, in_order, launch_packs, shares

SOURCE = source_of(folder() / "pool.cu")
EACH, CHUNK = constants(SOURCE)["EACH"], constants(SOURCE)["CHUNK"]
"""Pixels that a thread picks in v4, and windows in a range: the numbers of the .cu file."""

PACKS = source_of(folder() / "pool_packs.cu")

# Layouts.


def _memory(x: Array, last: bool) -> Array:
    """The array in the order of its memory, as pool.cu describes it."""
    return in_order(x, TO_NHWC) if last else x


def _empty(xp: Any, shape: tuple[int, ...], dtype: Any, last: bool) -> Array:
    """New memory for an array of this shape, in the order of the memory."""
    n, c, h, w = shape
    return empty(xp, (n, h, w, c) if last else shape, dtype)


def _logical(x: Array, last: bool) -> Array:
    return x.transpose(0, 3, 1, 2) if last else x


def _planes(shape: tuple[int, ...], last: bool) -> dict[str, int]:
    """The sizes B and S: there are B planes, in each of which S channels lie side by side."""
    n, c = shape[:2]
    return {"B": n, "S": c} if last else {"B": n * c, "S": 1}


# The maximum, and where it is.


def _unrolled(x: Array, windows: Windows) -> str:
    fits = windows.kernel in ((2, 2), (3, 3))
    return "" if fits else "only windows of 2 x 2 and 3 x 3 are unrolled"


def _find_naive(kernel: str, x: Array, windows: Windows) -> tuple[Array, Array]:
    xp, shape = xp_of(x), (*x.shape[:2], *windows.output)
    y, index = xp.zeros(shape, x.dtype), xp.full(shape, -1, "int64")
    if x.size and index.size:
        arrays = {"x": x, "y": y, "index": index}
        launch_each(kernel, index.size, **arrays, windows=windows, N=shape[0], C=shape[1])
    return y, index


def _found(x: Array, windows: Windows, last: bool) -> tuple[Array, Array]:
    """Memory for the largest pixels and their places; filled if there is nothing but padding."""
    shape = (*x.shape[:2], *windows.output)
    y, index = (_empty(xp_of(x), shape, dtype, last) for dtype in (x.dtype, "int64"))
    if not x.size:
        y[...], index[...] = 0, -1
    return y, index


def _find(kernel: str, x: Array, windows: Windows) -> tuple[Array, Array]:
    last = is_channels_last(x)
    y, index = _found(x, windows, last)
    if x.size and index.size:
        arrays = {"x": _memory(x, last), "y": y, "index": index}
        launch_each(kernel, index.size, **arrays, windows=windows, **_planes(x.shape, last))
    return _logical(y, last), _logical(index, last)


def _find_in_packs(kernel: str, x: Array, windows: Windows) -> tuple[Array, Array]:
    last = is_channels_last(x)
    y, index = _found(x, windows, last)
    if x.size and index.size:
        sizes = _planes(x.shape, last)
        many, parts = shares(PACKS, sizes["S"], x)
        threads = sizes["B"] * windows.output[0] * parts
        arrays = {"x": _memory(x, last), "y": y, "index": index}
        launch_packs(kernel, threads, index.size // threads, index, **arrays, windows=windows,
                     **sizes, many=many)
    return _logical(y, last), _logical(index, last)


# Picking.


def _pick_naive(kernel: str, x: Array, index: Array) -> Array:
    y = xp_of(x).empty(index.shape, x.dtype)
    if y.size:
        sizes = dict(zip("NC", x.shape, strict=False), **_counts(index.shape, x.shape))
        launch_each(kernel, y.size, x=x, index=_int64(index), y=y, **sizes)
    return y


def _pick(kernel: str, x: Array, index: Array, each: int = 1) -> Array:
    last = is_channels_last(x)
    y = _empty(xp_of(x), index.shape, x.dtype, last)
    if y.size:
        arrays = {"x": _memory(x, last), "index": _memory(_int64(index), last), "y": y}
        sizes = _planes(x.shape, last) | _counts(index.shape, x.shape)
        launch_each(kernel, ceil_div(y.size, each), **arrays, **sizes)
    return _logical(y, last)


def _pick_in_packs(kernel: str, x: Array, index: Array) -> Array:
    last = is_channels_last(x)
    y = _empty(xp_of(x), index.shape, x.dtype, last)
    if y.size:
        sizes = _planes(x.shape, last) | _counts(index.shape, x.shape)
        many, parts = shares(PACKS, sizes["S"], x)
        each = ceil_div(SHARE * parts, sizes["S"]) if runs_natively(x) else EACH
        threads = sizes["B"] * ceil_div(sizes["windows"], each) * parts
        arrays = {"x": _memory(x, last), "index": _memory(_int64(index), last), "y": y}
        sizes |= {"many": many, "each": each}
        launch_packs(kernel, threads, y.size // threads + 1, y, **arrays, **sizes)
    return _logical(y, last)


# Putting.


def _put_naive(kernel: str, y: Array, index: Array, size: tuple[int, int]) -> Array:
    n, c = y.shape[:2]
    x = xp_of(y).zeros((n, c, *size), y.dtype)
    if x.size and y.size:
        sizes = {"N": n, "C": c, **_counts(y.shape, x.shape)}
        launch_each(kernel, x.size, y=y, index=_int64(index), x=x, **sizes)
    return x


def _put(kernel: str, y: Array, index: Array, size: tuple[int, int]) -> Array:
    xp, last, shape = xp_of(y), is_channels_last(index), (*y.shape[:2], *size)
    x = _empty(xp, shape, y.dtype, last)
    if not x.size or not y.size:
        x[...] = 0
        return _logical(x, last)
    sizes = _planes(shape, last) | _counts(y.shape, shape)
    chunks = sizes["B"] * ceil_div(sizes["S"] * sizes["windows"], CHUNK)
    bins = sizes["B"] * ceil_div(sizes["S"] * sizes["pixels"], constants(SOURCE, y.dtype)["BIN"])
    ranges = {"lowest": xp.empty(chunks, "int32"), "highest": xp.empty(chunks, "int32")}
    index = xp.ascontiguousarray(_memory(_int64(index), last))
    launch_each("put_windows_ranges", chunks * WARP, index=index, **ranges, **sizes)
    arrays = {"y": _memory(y, last), "index": index, "x": x}
    launch_each(kernel, bins * WARP, **arrays, **ranges, **sizes)
    return _logical(x, last)


def _put_in_packs(kernel: str, y: Array, index: Array, size: tuple[int, int]) -> Array:
    last, shape = is_channels_last(index), (*y.shape[:2], *size)
    x = _empty(xp_of(y), shape, y.dtype, last)
    if not x.size or not y.size:
        x[...] = 0
        return _logical(x, last)
    sizes = _planes(shape, last) | _counts(y.shape, shape)
    many, parts = shares(PACKS, sizes["S"], y)
    threads = sizes["B"] * parts
    arrays = {"y": _memory(y, last), "index": _memory(_int64(index), last), "x": x}
    launch_packs(kernel, threads, x.size // threads, x, **arrays, **sizes, many=many)
    return _logical(x, last)


def _int64(index: Array) -> Array:
    return index.astype("int64", copy=False)


def _counts(output: tuple[int, ...], image: tuple[int, ...]) -> dict[str, int]:
    """The numbers of windows and of pixels of one channel."""
    return {"windows": prod(output[2:]), "pixels": prod(image[2:])}


# The ladders.

MAX_POOL2D = Ladder("max_pool2d", [
    Rung("naive", _find_naive),
    Rung("packs", _find_in_packs, native=True),
    Rung("either_layout", _find),
    Rung("unrolled", _find, fits=_unrolled),
])

PICK_WINDOWS = Ladder("pick_windows", [
    Rung("naive", _pick_naive),
    Rung("packs", _pick_in_packs, native=True),
    Rung("either_layout", _pick),
    Rung("four", _pick, each=EACH),
])

PUT_WINDOWS = Ladder("put_windows", [
    Rung("naive", _put_naive),
    Rung("packs", _put_in_packs, native=True),
    Rung("bins", _put),
])


def max_pool2d(x: Array, windows: Windows) -> tuple[Array, Array]:
    """Find the largest pixel of each window and its place: (N, C, H, W) -> (N, C, I, J) twice."""
    return MAX_POOL2D.climb(x, windows=windows)


def pick_windows(x: Array, index: Array) -> Array:
    """Pick pixels by their places: (N, C, H, W), (N, C, I, J) -> (N, C, I, J)."""
    return PICK_WINDOWS.climb(x, index)


def put_windows(y: Array, index: Array, size: tuple[int, int]) -> Array:
    """Add values up at their places, among zeros: (N, C, I, J) twice -> (N, C, H, W)."""
    return PUT_WINDOWS.climb(y, index, size=size)
