"""Launches resample.cu: resizing by taps, one table for the rows and one for the columns.

The name, arguments and result are those of ``minidl.compute.reference.resample``. The tables are
moved to the array's device once, and kept there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.taps import Taps
from minidl.cuda.ladder import climb, rung
from minidl.cuda.launch import launch
from minidl.cuda.prepare import is_nhwc

THREADS = 256
"""Of a block."""

ROWS, COLUMNS = 16, 32
"""Of a block's tile of outputs, from v3 on, as in resample.cu."""

SHARED = 48 * 1024
"""Bytes of shared memory that a block gets without asking for more."""


def resample(x: Array, down: Taps, across: Taps) -> Array:
    """Rows mixed by one table, columns by the other: (N, C, H, W) -> (N, C, I, J)."""
    return climb("resample", x, down=down, across=across)


# Tables.


class Table(NamedTuple):
    """Taps as the kernels read them: arrays (T, I), of int and of the image's dtype."""

    index: Array
    weight: Array
    lowest: Array
    """The first pixel under each tile of ``COLUMNS`` outputs."""
    span: int
    """So many pixels lie under one tile, at most."""


def _table(taps, x):
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


# Which rung fits: the reason why not, or nothing.


def _separable(x, down, across):
    one = 1 in (down.index.shape[1], across.index.shape[1])
    return "with one tap along an axis, nothing is mixed twice" if one else ""


def _two_passes(x, down, across):
    return "" if is_nhwc(x) else _separable(x, down, across)


def _shared_rows(x, down, across):
    if is_nhwc(x):
        return "the image is channels last"
    if ROWS * _table(across, x).span * x.itemsize > SHARED:
        return "the columns under a tile of outputs do not fit into shared memory"
    return _separable(x, down, across)


# The rungs.


@rung("resample", 1)
def resample_v1_naive(x, down, across):
    y = _empty(x, down, across)
    if y.size:
        blocks = -(-y.size // THREADS)
        launch("resample_v1_naive", blocks, THREADS, x=x, y=y, **_arguments(x, down, across))
    return y


@rung("resample", 2, fits=_two_passes)
def resample_v2_two_passes(x, down, across):
    (n, c, _, w), i, j = x.shape, down.count, across.count
    if is_nhwc(x):
        mixed = _mix(x.transpose(0, 2, 3, 1), down, n, w * c)
        return _mix(mixed, across, n * i, c).reshape(n, i, j, c).transpose(0, 3, 1, 2)
    mixed = _mix(x, down, n * c, w)
    return _mix(mixed, across, n * c * i, 1).reshape(n, c, i, j)


def _mix(x, taps, outer, inner):
    """(B, H, S) -> (B, I, S), with B = ``outer`` and S = ``inner``."""
    y = xp_of(x).empty((outer, taps.count, inner), x.dtype)
    if y.size:
        table = _table(taps, x)
        sizes = {"B": outer, "H": taps.size, "I": taps.count, "S": inner, "T": len(table.index)}
        arrays = {"x": x, "index": table.index, "weight": table.weight, "y": y}
        blocks = -(-y.size // THREADS)
        launch("resample_v2_two_passes", blocks, THREADS, **arrays, **sizes)
    return y


@rung("resample", 3, fits=_shared_rows)
def resample_v3_shared_rows(x, down, across):
    y = _empty(x, down, across)
    if y.size:
        table = _table(across, x)
        tiles = -(-down.count // ROWS) * -(-across.count // COLUMNS)
        launch(
            "resample_v3_shared_rows",
            x.shape[0] * x.shape[1] * tiles,
            THREADS,
            shared=ROWS * table.span * x.itemsize,
            **{"x": x, "y": y, "lowest": table.lowest, "span": table.span},
            **_arguments(x, down, across),
        )
    return y


def _empty(x, down, across):
    return xp_of(x).empty((*x.shape[:2], down.count, across.count), x.dtype)


def _arguments(x, down, across):
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
