"""Launches resample.cu: resizing by taps, one table for the rows and one for the columns.

The name, arguments and result are those of ``minidl.compute.reference.resample``. The rung
of packs is in resample_packs.cu. Tables are moved to the array's device once, and kept there.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.layout import is_channels_last
from minidl.compute.taps import Taps
from minidl.cuda.gpu import FREE_SHARED
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import lanes_of, launch, launch_each
from minidl.cuda.prepare import ceil_div, empty
from minidl.cuda.source import constants, folder, source_of
from minidl.kernels.packs import launch_packs, shares

NUMBERS = constants(source_of(folder() / "resample.cu"))
ROWS, COLUMNS = NUMBERS["ROWS"], NUMBERS["COLUMNS"]
"""Rows and columns of a block's tile of outputs in v4: the numbers of the .cu file."""

PACKS = source_of(folder() / "resample_packs.cu")
FEW = 2.5
"""The taps of a pixel, on the average, above which rows that become more are mixed first."""


# Tables.


class Table(NamedTuple):
    """Taps as the kernels read them: arrays (T, I), of int and of the image's dtype."""

    index: Array
    weight: Array
    lowest: Array
    """The first pixel under each tile of ``COLUMNS`` outputs."""
    span: int
    """The most pixels that lie under one tile."""


def _table(taps: Taps, x: Array) -> Table:
    device = str(getattr(x, "device", "cpu"))  # CuPy's tells one GPU from another
    return _moved(taps, x.dtype, xp_of(x), device)


@lru_cache(maxsize=1024)
def _moved(taps: Taps, dtype: Any, xp: Any, device: str) -> Table:
    weight = taps.weight.astype(dtype)
    tiles = [slice(start, start + COLUMNS) for start in range(0, taps.count, COLUMNS)]
    # Taps of weight 0 fill rows up and may lie anywhere: they are not read.
    used = [taps.index[tile][weight[tile] != 0] for tile in tiles]
    lowest = np.array([pixels.min() if pixels.size else 0 for pixels in used], np.int32)
    highest = np.array([pixels.max() if pixels.size else 0 for pixels in used], np.int32)
    return Table(
        xp.asarray(np.ascontiguousarray(taps.index.T, np.int32)),
        xp.asarray(np.ascontiguousarray(weight.T)),
        xp.asarray(lowest),
        int((highest - lowest).max(initial=0)) + 1,
    )


class Rows(NamedTuple):
    """Taps as resample_packs.cu reads them, pixel after pixel, without those of weight 0."""

    starts: Array
    index: Array
    weight: Array
    runs: Array
    """How many pixels from each on are copies of pixels side by side."""


def _rows(taps: Taps, x: Array) -> Rows:
    device = str(getattr(x, "device", "cpu"))
    return _compact(taps, x.dtype, xp_of(x), device)


@lru_cache(maxsize=1024)
def _compact(taps: Taps, dtype: Any, xp: Any, device: str) -> Rows:
    weight = taps.weight.astype(dtype)
    used = weight != 0
    starts = np.concatenate([[0], used.sum(1).cumsum()])
    # One number at least: a kernel takes no empty array.
    index, weight = np.append(taps.index[used], 0), np.append(weight[used], 0)
    return Rows(
        xp.asarray(starts.astype(np.int32)),
        xp.asarray(index.astype(np.int32)),
        xp.asarray(weight.astype(dtype)),
        xp.asarray(_runs(taps).astype(np.int32)),
    )


def _runs(taps: Taps) -> Array:
    copied = (taps.weight != 0).sum(1) == 1
    copied &= taps.weight.sum(1) == 1
    index = (taps.index * (taps.weight != 0)).sum(1)
    runs, follows = np.zeros(taps.count + 1, int), 0
    for i in reversed(range(taps.count)):
        follows = i + 1 < taps.count and index[i + 1] == index[i] + 1
        runs[i] = copied[i] * (1 + runs[i + 1] * follows)
    return runs[:-1]


# Which rung fits: the reason why not, or nothing.


def _separable(x: Array, down: Taps, across: Taps) -> str:
    one = 1 in (down.index.shape[1], across.index.shape[1])
    return "with one tap along an axis, nothing is mixed twice" if one else ""


def _either_layout(x: Array, down: Taps, across: Taps) -> str:
    return "" if is_channels_last(x) else _separable(x, down, across)


def _tile_fits(x: Array, down: Taps, across: Taps) -> str:
    if is_channels_last(x):
        return "the image is channels last"
    if _shared(x, across) > FREE_SHARED:
        return "the columns under a tile of outputs do not fit into shared memory"
    return _separable(x, down, across)


def _shared(x: Array, across: Taps) -> int:
    """Bytes of shared memory for the mixed rows under a tile of outputs."""
    return ROWS * _table(across, x).span * x.dtype.itemsize


# Launching.


def _at_once(kernel: str, x: Array, down: Taps, across: Taps) -> Array:
    y = _empty(x, down, across)
    if y.size:
        launch_each(kernel, y.size, x=x, y=y, **_arguments(x, down, across))
    return y


def _in_packs(kernel: str, x: Array, down: Taps, across: Taps) -> Array:
    (n, c, h, w), i, j = x.shape, down.count, across.count
    # Single pixels lie either way: what is made of them is for convolutions, channels last.
    last = is_channels_last(x) or (h == w == 1 and x.flags.c_contiguous)
    planes, pixel = (n, c) if last else (n * c, 1)
    y = x.transpose(0, 2, 3, 1) if last else x
    # Rows first, all of whose numbers lie together as channels do: where that fills packs, which
    # few channels do not, and where several pixels share what is mixed.
    narrow = pixel < lanes_of(PACKS, x)
    if x.size and (narrow or i > h) and len(_rows(down, x).weight) > (1.5 if narrow else FEW) * i:
        y = _mix_pixels(kernel, y, (planes, h, 1, w * pixel), down, _same(1))
        h, down = i, _same(i)
    y = _mix_pixels(kernel, y, (planes, h, w, pixel), down, across)
    return y.transpose(0, 3, 1, 2) if last else y.reshape(n, c, i, j)


def _mix_pixels(
    kernel: str, x: Array, shape: tuple[int, int, int, int], down: Taps, across: Taps
) -> Array:
    """Mix both axes, (B, H, W, S) -> (B, I, J, S), where S numbers are a pixel."""
    planes, h, w, run = shape
    i, j = down.count, across.count
    y = empty(xp_of(x), (planes, i, j, run), x.dtype)
    if y.size:
        many, parts = shares(PACKS, run, x)
        arrays = {"x": x, "y": y}
        for axis, taps in (("down", down), ("across", across)):
            rows = _rows(taps, x)
            arrays |= {f"{name}_{axis}": getattr(rows, name) for name in rows._fields}
        del arrays["runs_down"]
        sizes = {"B": planes, "H": h, "W": w, "I": i, "J": j, "S": run, "many": many}
        threads = planes * i * parts
        launch_packs(kernel, threads, y.size // threads + 1, y, **arrays, **sizes)
    return y


@lru_cache(maxsize=1024)
def _same(size: int) -> Taps:
    """The table that leaves an axis as it is."""
    return Taps(size, np.arange(size)[:, None], np.ones((size, 1)))


def _in_two_passes(kernel: str, x: Array, down: Taps, across: Taps) -> Array:
    (n, c, _, w), i, j = x.shape, down.count, across.count
    if is_channels_last(x):
        mixed = _mix(kernel, x.transpose(0, 2, 3, 1), down, n, w * c)
        mixed = _mix(kernel, mixed, across, n * i, c)
        return mixed.reshape(n, i, j, c).transpose(0, 3, 1, 2)
    mixed = _mix(kernel, x, down, n * c, w)
    return _mix(kernel, mixed, across, n * c * i, 1).reshape(n, c, i, j)


def _mix(kernel: str, x: Array, taps: Taps, outer: int, inner: int) -> Array:
    """Mix one axis: (B, H, S) -> (B, I, S), with B = ``outer`` and S = ``inner``."""
    y = xp_of(x).empty((outer, taps.count, inner), x.dtype)
    if y.size:
        table = _table(taps, x)
        sizes = {"B": outer, "H": taps.size, "I": taps.count, "S": inner, "T": len(table.index)}
        launch_each(kernel, y.size, x=x, index=table.index, weight=table.weight, y=y, **sizes)
    return y


def _in_tiles(kernel: str, x: Array, down: Taps, across: Taps) -> Array:
    y = _empty(x, down, across)
    if y.size:
        table = _table(across, x)
        blocks = prod(x.shape[:2]) * ceil_div(down.count, ROWS) * ceil_div(across.count, COLUMNS)
        more = {"lowest": table.lowest, "span": table.span, **_arguments(x, down, across)}
        launch(kernel, blocks, shared=_shared(x, across), x=x, y=y, **more)
    return y


def _empty(x: Array, down: Taps, across: Taps) -> Array:
    return xp_of(x).empty((*x.shape[:2], down.count, across.count), x.dtype)


def _arguments(x: Array, down: Taps, across: Taps) -> dict[str, Any]:
    rows, columns = _table(down, x), _table(across, x)
    return {
        "index_down": rows.index,
        "weight_down": rows.weight,
        "index_across": columns.index,
        "weight_across": columns.weight,
        **dict(zip("NCHW", x.shape, strict=True)),
        "I": down.count,
        "J": across.count,
        "T_down": len(rows.index),
        "T_across": len(columns.index),
    }


# The ladder.

RESAMPLE = Ladder("resample", [
    Rung("naive", _at_once),
    Rung("packs", _in_packs, native=True),
    Rung("two_passes", _in_two_passes, fits=_either_layout),
    Rung("shared_rows", _in_tiles, fits=_tile_fits),
])


def resample(x: Array, down: Taps, across: Taps) -> Array:
    """Mix rows by one table and columns by the other: (N, C, H, W) -> (N, C, I, J)."""
    return RESAMPLE.climb(x, down=down, across=across)
