"""Cases of pooling, resampling and sampling images (see ``minidl.kernels.cases``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute import reference, taps
from minidl.compute.arrays import Array
from minidl.compute.windows import windows_over
from minidl.kernels.case import Call, Case, Random, Shape, Size, channels_last

# --- pooling ---


def _pool(
    setting: str, shape: Shape, kernel: Size, draw: str = "normal", last: bool = False,
    op: str = "max_pool2d", **geometry: Any,
) -> Case:
    """A case of finding where maxima are; with another ``op``, of picking or putting there."""
    windows = windows_over("cases", (shape[2], shape[3]), kernel, **geometry)

    def make(rng: Random, dtype: Any) -> Call:
        x = _drawn(rng, shape, draw).astype(dtype)
        x = channels_last(x) if last else x
        if op == "max_pool2d":
            return (x,), {"windows": windows}
        _, index = reference.max_pool2d(x, windows)
        return _moved(rng, x, channels_last(index) if last else index, op)

    return Case(op, setting, make)


def _drawn(rng: Random, shape: Shape, draw: str) -> Array:
    if draw == "ties":
        return rng.integers(-1, 2, shape)
    x = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 0.2, np.nan, x) if draw == "nan" else x


def _anywhere(
    op: str, setting: str, shape: Shape, output: Shape, lowest: int | None = None,
    highest: int | None = None, last: bool = False,
) -> Case:
    """A case of random places: the same one several times, some counted from the end."""
    pixels = shape[2] * shape[3]

    def make(rng: Random, dtype: Any) -> Call:
        x = rng.standard_normal(shape).astype(dtype)
        first = -pixels if lowest is None else lowest
        index = rng.integers(first, highest or pixels, (*shape[:2], *output))
        if last:
            x, index = channels_last(x), channels_last(index)
        return _moved(rng, x, index, op)

    return Case(op, setting, make)


def _moved(rng: Random, x: Array, index: Array, op: str) -> Call:
    if op == "pick_windows":
        return (x, index), {}
    y = rng.standard_normal(index.shape).astype(x.dtype)
    last = index.ndim == 4 and not index.flags.c_contiguous
    return (channels_last(y) if last else y, index), {"size": x.shape[2:]}


_POOL = [
    _pool("two by two", (2, 3, 6, 8), (2, 2), stride=2),
    _pool("three by three", (2, 5, 7, 9), (3, 3), stride=2, padding=1),
    _pool("another window", (2, 3, 8, 7), (3, 2), stride=(1, 2), padding=(1, 0), dilation=(2, 1)),
    _pool("equal pixels", (1, 2, 9, 8), (3, 3), draw="ties"),
    _pool("not a number", (2, 3, 7, 6), (2, 2), draw="nan"),
    _pool("channels last", (2, 5, 7, 6), (3, 3), last=True, padding=1),
    _pool("channels last, another window", (2, 3, 5, 7), (2, 3), last=True, draw="ties"),
    _pool("packs", (2, 16, 6, 5), (2, 2), last=True, stride=2, draw="nan"),
    _pool("packs and one more", (1, 17, 5, 6), (3, 2), last=True, padding=1, draw="ties"),
    _pool("several packs", (2, 40, 4, 7), (2, 3), last=True, stride=2),
    _pool("many channels", (1, 40, 5, 4), (2, 2), stride=2),
    _pool("windows of padding alone", (1, 2, 2, 3), (2, 2), stride=4, padding=3, dilation=4),
    _pool("a bottom row cut off", (1, 3, 7, 5), (2, 2), stride=2, ceil_mode=True),
    _pool("no images", (0, 3, 4, 5), (2, 2)),
    *(
        case
        for op in ("pick_windows", "put_windows")
        for case in (
            _pool("of windows side by side", (2, 3, 6, 8), (2, 2), op=op, stride=2),
            _pool("of windows that overlap", (2, 3, 7, 5), (3, 3), op=op, draw="ties"),
            _pool("channels last", (2, 5, 7, 6), (3, 3), op=op, last=True, padding=1),
            _pool("no images", (0, 3, 4, 5), (2, 2), op=op),
            _anywhere(op, "anywhere", (2, 3, 5, 7), (4, 9)),
            _anywhere(op, "anywhere, channels last", (2, 6, 5, 7), (4, 9), last=True),
            _anywhere(op, "packs", (2, 16, 3, 4), (5, 3), last=True),
            _anywhere(op, "several packs and some more", (1, 45, 3, 4), (5, 2), last=True),
            _anywhere(op, "all at one place", (2, 2, 5, 3), (7, 8), 4, 5),
            _anywhere(op, "all at the last", (1, 3, 5, 3), (7, 8), -1, 0),
            _anywhere(op, "several bins", (1, 2, 38, 43), (17, 19)),
            _anywhere(op, "several bins, channels last", (1, 17, 13, 11), (6, 7), last=True),
        )
    ),
]


# --- resampling and sampling ---


def _resample(
    setting: str, down: taps.Taps, across: taps.Taps, n: int = 2, c: int = 3, last: bool = False
) -> Case:
    def make(rng: Random, dtype: Any) -> Call:
        x = rng.standard_normal((n, c, down.size, across.size)).astype(dtype)
        return (channels_last(x) if last else x,), {"down": down, "across": across}

    return Case("resample", setting, make)


def _smooth(size: int, count: int) -> taps.Taps:
    return taps.antialiased(taps.cubic, 2, size, count)


def _copied(size: int, *places: int) -> taps.Taps:
    """A table of copies; a negative place is outside of the image."""
    index = np.array(places)[:, None]
    return taps.Taps(size, index.clip(0), (index >= 0).astype(float))


_MIRRORED = _copied(7, 2, 1, *range(7), 5, 4, 3)
_FRAMED = _copied(23, -1, *range(23), -1, -1)

_RESAMPLE = [
    _resample("nearest", taps.nearest(5, 11), taps.nearest(7, 3)),
    _resample("bilinear, larger", taps.bilinear(5, 9), taps.bilinear(6, 13)),
    _resample("corners", taps.bilinear(7, 4, None, True), taps.bilinear(5, 8, None, True)),
    _resample("bicubic", taps.bicubic(6, 13), taps.bicubic(9, 7)),
    _resample("antialiased, smaller", _smooth(19, 5), _smooth(23, 8)),
    _resample("adjoint", taps.bilinear(5, 9).transposed, taps.bilinear(6, 3).transposed),
    _resample("adjoint of bicubic", taps.bicubic(6, 13).transposed, taps.bicubic(5, 7).transposed),
    _resample("adjoint of antialiased", _smooth(19, 5).transposed, _smooth(17, 6).transposed),
    _resample(
        "means", taps.means(9, 3, 2, 1, True, False), taps.means(8, 2, 3, 0, False, True)
    ),
    _resample("adaptive means", taps.adaptive_means(7, 3), taps.adaptive_means(11, 4)),
    _resample("rows alone", taps.bilinear(5, 7), taps.nearest(6, 6)),
    _resample("channels last", taps.bicubic(5, 8), taps.bilinear(6, 9), c=5, last=True),
    _resample("nearest, channels last", taps.nearest(5, 8), taps.nearest(6, 3), c=5, last=True),
    _resample("packs", taps.bilinear(5, 8), taps.bilinear(4, 7), c=16, last=True),
    _resample("packs and one more", taps.bicubic(4, 3), taps.nearest(5, 9), c=17, last=True),
    _resample("several packs", taps.nearest(4, 7).transposed, _MIRRORED, c=40, last=True),
    _resample("mirrored", _copied(5, 1, *range(5), 3), _MIRRORED, c=1),
    _resample("mirrored, few channels", _MIRRORED, _copied(5, *range(5), 3, 2), last=True),
    _resample("mirrored, adjoint", _MIRRORED.transposed, _MIRRORED.transposed, last=True),
    _resample("framed by zeros", _copied(4, -1, 0, 1, 2, 3), _FRAMED, n=1),
    _resample("framed by zeros, adjoint", _copied(3, 0, 1, 2, -1).transposed, _FRAMED.transposed),
    _resample("several tiles", taps.bilinear(14, 37), taps.bicubic(21, 70), n=1, c=2),
    _resample("several tiles, smaller", _smooth(41, 17), _smooth(150, 35), n=1, c=1),
    _resample("no images", taps.bilinear(5, 9), taps.bilinear(6, 13), n=0),
]


def _sample(
    setting: str, n: int, c: int, pixels: int, points: int, count: int, lowest: int = 0,
    sorted_: bool = False, last: bool = False,
) -> list[Case]:
    """A case for each of the three corners, at the same taps."""

    def corner(result: str, first: str, second: str) -> Case:
        def make(rng: Random, dtype: Any) -> Call:
            shapes = {"image": (n, c, pixels), "weight": (n, points, count), "y": (n, c, points)}
            drawn = {s: rng.standard_normal(shapes[s]).astype(dtype) for s in (first, second)}
            index = rng.integers(lowest, pixels, (n, points, count))
            arrays = tuple(_turned(x) if last and s != "weight" else x for s, x in drawn.items())
            settings = {"index": np.sort(index, 1) if sorted_ else index}
            return arrays, settings | ({"pixels": pixels} if result == "image" else {})

        return Case(f"grid_sample_{result}", setting, make)

    return [
        corner("y", "image", "weight"),
        corner("image", "weight", "y"),
        corner("weight", "image", "y"),
    ]


def _turned(x: Array) -> Array:
    """A copy of (N, C, P) that lies as (N, P, C) in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1)


_SAMPLE = [
    _sample("one channel", 2, 1, 15, 7, 4),
    _sample("three channels, one tap", 3, 3, 11, 5, 1),
    _sample("five channels, several bins", 2, 5, 700, 90, 4),
    _sample("neighbours to neighbours", 1, 4, 600, 150, 4, sorted_=True),
    _sample("seventeen channels, nine taps", 1, 17, 14, 6, 9),
    _sample("packs", 2, 16, 12, 5, 4, last=True),
    _sample("several packs and some more", 2, 45, 7, 6, 3, last=True),
    _sample("counted from the end", 2, 3, 10, 6, 4, lowest=-10),
    _sample("all at one place", 1, 6, 1, 70, 5),
    _sample("no images", 0, 3, 10, 6, 4),
]

CASES = [*_POOL, *_RESAMPLE, *(case for cases in _SAMPLE for case in cases)]

EXAMPLES = [
    *_sample("example", 2, 16, 32 * 32, 24 * 24, 4, sorted_=True),
    _pool("example", (2, 16, 32, 32), (2, 2), stride=2),
    _pool("example", (2, 16, 32, 32), (2, 2), op="pick_windows", stride=2),
    _pool("example", (2, 16, 32, 32), (2, 2), op="put_windows", stride=2),
    _resample("example", taps.bilinear(32, 64), taps.bilinear(32, 64), c=8),
]
