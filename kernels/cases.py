"""Cases: small calls of every op, on which each rung of its ladder is tried.

``minidl kernels check`` and the tests walk over ``CASES``; a rung that fits none of them fails the
suite. Sizes are pairwise different and divide no tile; what a case is there for is its setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.compute import reference, taps
from minidl.compute.arrays import Array, is_array, to_device
from minidl.compute.windows import windows_over

Call = tuple[tuple[Array, ...], dict[str, Any]]
Random = np.random.Generator
Make = Callable[[Random, Any], Call]
Size = tuple[int, int]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One call of an op.

    Attributes
    ----------
    op : str
        A function of ``minidl.compute.reference`` and of ``minidl.kernels``.
    setting : str
        What the case is there for.
    make : callable
        Takes a random generator and a dtype, and returns the arrays and the settings (a dict)
        of the call, NumPy's.
    """

    op: str
    setting: str
    make: Make

    @property
    def name(self) -> str:
        return f"{self.op}: {self.setting}"

    def call(self, dtype: Any) -> Call:
        """Make the call, always with the same numbers in it."""
        return self.make(np.random.default_rng(0), np.dtype(dtype))


def moved(call: Call, device: str) -> Call:
    """Move the arrays of a call to a device, also those among its settings."""
    arrays, settings = call
    known = {k: to_device(v, device) if is_array(v) else v for k, v in settings.items()}
    return tuple(to_device(array, device) for array in arrays), known


def cases_of(op: str) -> list[Case]:
    """The cases of one op."""
    return [case for case in CASES if case.op == op]


def example(op: str) -> Case:
    """A case of a size as in a small network: large enough to show how a rung behaves."""
    return _EXAMPLES[op]


def channels_last(x: Array) -> Array:
    """A copy of an image that lies channels last in memory."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


# --- convolution ---


def _conv(
    setting: str, n: int, c: int, o: int, image: Size, kernel: Size, groups: int = 1,
    last: bool = False, **geometry: Any,
) -> list[Case]:
    """A case for each of the three corners, on one geometry."""
    windows = windows_over("cases", image, kernel, **geometry)
    shapes = {
        "x": (n, c, *image),
        "w": (o, c // groups, *kernel),
        "y": (n, o, *windows.output),
    }

    def corner(first: str, second: str, result: str) -> Case:
        def make(rng: Random, dtype: Any) -> Call:
            arrays = [rng.standard_normal(shapes[s]).astype(dtype) for s in (first, second)]
            arrays = [channels_last(array) for array in arrays] if last else arrays
            return tuple(arrays), {"windows": windows, "groups": groups}

        return Case(f"conv2d_{result}", setting, make)

    return [corner("x", "w", "y"), corner("w", "y", "x"), corner("x", "y", "w")]


_CONV = [
    _conv("padding", 2, 3, 5, (7, 6), (3, 2), padding=1),
    _conv("one channel to one", 3, 1, 1, (6, 5), (2, 3)),
    _conv("steps", 2, 5, 3, (9, 8), (3, 4), stride=(2, 3), padding=(1, 2)),
    _conv("dilation", 1, 2, 3, (9, 11), (3, 2), dilation=(2, 3), padding=(2, 1)),
    _conv("steps, dilation", 2, 3, 4, (10, 9), (3, 2), stride=(2, 3), dilation=(3, 2), padding=3),
    _conv("windows of one pixel", 2, 16, 5, (5, 4), (1, 1)),
    _conv("steps beyond the window", 2, 3, 4, (11, 9), (2, 1), stride=(3, 4)),
    _conv("more padding than image", 1, 3, 2, (2, 3), (3, 3), padding=4, dilation=2),
    _conv("two groups", 2, 6, 4, (6, 5), (3, 3), groups=2, padding=1),
    _conv("depthwise", 2, 5, 5, (7, 6), (3, 2), groups=5, padding=1),
    _conv("depthwise, two outputs each", 2, 3, 6, (5, 6), (3, 3), groups=3, stride=2, padding=1),
    _conv("channels last", 2, 5, 3, (6, 7), (3, 2), padding=1, last=True),
    _conv("packs", 2, 8, 12, (6, 5), (3, 2), padding=1, last=True),
    _conv("packs in groups", 1, 16, 8, (5, 7), (2, 3), groups=2, stride=2, padding=1, last=True),
    _conv("sixteen columns and one more", 1, 17, 16, (6, 5), (3, 3), padding=1),
    _conv("one column more than sixteen", 1, 16, 17, (5, 6), (3, 3), padding=1),
    _conv("several tiles", 3, 68, 72, (8, 7), (2, 1), padding=1, last=True),
    _conv("several slices", 3, 4, 5, (24, 19), (2, 3), padding=1),
    _conv("slices of packs", 2, 4, 8, (26, 23), (3, 1), last=True),
    _conv("no images", 0, 3, 2, (5, 4), (3, 2)),
    _conv("no channels", 2, 0, 3, (5, 4), (3, 2)),
]


# --- pooling ---


def _pool(
    setting: str, shape: Shape, kernel: Size, draw: str = "normal", last: bool = False,
    op: str = "max_pool2d_index", **geometry: Any,
) -> Case:
    """A case of finding where maxima are; with another ``op``, of picking or putting there."""
    windows = windows_over("cases", (shape[2], shape[3]), kernel, **geometry)

    def make(rng: Random, dtype: Any) -> Call:
        x = _drawn(rng, shape, draw).astype(dtype)
        x = channels_last(x) if last else x
        if op == "max_pool2d_index":
            return (x,), {"windows": windows}
        index = reference.max_pool2d_index(x, windows)
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
    _resample("several tiles", taps.bilinear(14, 37), taps.bicubic(21, 70), n=1, c=2),
    _resample("several tiles, smaller", _smooth(41, 17), _smooth(150, 35), n=1, c=1),
    _resample("no images", taps.bilinear(5, 9), taps.bilinear(6, 13), n=0),
]


def _sample(
    setting: str, n: int, c: int, pixels: int, points: int, count: int, lowest: int = 0,
    sorted_: bool = False,
) -> list[Case]:
    """A case for each of the three corners, at the same taps."""

    def corner(result: str, first: str, second: str) -> Case:
        def make(rng: Random, dtype: Any) -> Call:
            shapes = {"image": (n, c, pixels), "weight": (n, points, count), "y": (n, c, points)}
            arrays = tuple(rng.standard_normal(shapes[s]).astype(dtype) for s in (first, second))
            index = rng.integers(lowest, pixels, (n, points, count))
            settings = {"index": np.sort(index, 1) if sorted_ else index}
            return arrays, settings | ({"pixels": pixels} if result == "image" else {})

        return Case(f"grid_sample_{result}", setting, make)

    return [
        corner("y", "image", "weight"),
        corner("image", "weight", "y"),
        corner("weight", "image", "y"),
    ]


_SAMPLE = [
    _sample("one channel", 2, 1, 15, 7, 4),
    _sample("three channels, one tap", 3, 3, 11, 5, 1),
    _sample("five channels, several bins", 2, 5, 700, 90, 4),
    _sample("neighbours to neighbours", 1, 4, 600, 150, 4, sorted_=True),
    _sample("seventeen channels, nine taps", 1, 17, 14, 6, 9),
    _sample("counted from the end", 2, 3, 10, 6, 4, lowest=-10),
    _sample("all at one place", 1, 6, 1, 70, 5),
    _sample("no images", 0, 3, 10, 6, 4),
]


# --- Gram matrices ---


def _gram(setting: str, n: int, i: int, j: int, p: int) -> list[Case]:
    """A case for each of the three corners, its arrays shaped by the same letters."""
    shapes = {"a": (n, i, p), "b": (n, j, p), "y": (n, i, j)}

    def corner(first: str, second: str, result: str) -> Case:
        def make(rng: Random, dtype: Any) -> Call:
            return tuple(rng.standard_normal(shapes[s]).astype(dtype) for s in (first, second)), {}

        return Case(f"gram_{result}", setting, make)

    return [corner("a", "b", "y"), corner("b", "y", "a"), corner("a", "y", "b")]


_GRAM = [
    _gram("few channels", 2, 3, 5, 49),
    _gram("one pixel", 3, 5, 4, 1),
    _gram("more than a tile", 2, 17, 70, 33),
    _gram("several slices", 2, 5, 3, 700),
    _gram("slices and tiles", 1, 66, 19, 530),
    _gram("no pixels", 2, 3, 4, 0),
    _gram("no images", 0, 3, 4, 5),
]


# --- normalising ---


def _norm(
    setting: str, shape: Shape, axes: tuple[int, ...], last: bool = False
) -> list[Case]:
    """A case of normalising, and one of its derivative at the same place."""

    def drawn(rng: Random, dtype: Any) -> Array:
        x = (rng.standard_normal(shape) * 3 + 2).astype(dtype)
        return channels_last(x) if last else x

    def forward(rng: Random, dtype: Any) -> Call:
        return (drawn(rng, dtype),), {"axes": axes, "eps": 1e-5}

    def adjoint(rng: Random, dtype: Any) -> Call:
        grad, y = drawn(rng, dtype), drawn(rng, dtype)
        kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
        return (grad, y, rng.uniform(0.5, 2, kept).astype(dtype)), {"axes": axes}

    return [Case("normalize", setting, forward), Case("normalize_adjoint", setting, adjoint)]


_NORM = [
    _norm("batch", (3, 5, 3, 7), (0, 2, 3)),
    _norm("batch, packs", (3, 5, 4, 6), (0, 2, 3)),
    _norm("batch, channels last", (2, 5, 6, 7), (0, 2, 3), last=True),
    _norm("batch, channels last, many channels", (2, 37, 7, 11), (0, 2, 3), last=True),
    _norm("batch of rows", (150, 35), (0,)),
    _norm("batch, large images", (2, 3, 41, 53), (0, 2, 3)),
    _norm("batch, large images in packs", (2, 3, 40, 54), (0, 2, 3)),
    _norm("instance", (2, 3, 5, 7), (2, 3)),
    _norm("instance, channels last", (2, 5, 6, 7), (2, 3), last=True),
    _norm("layer", (3, 4, 5, 2), (1, 2, 3)),
    _norm("layer of rows", (6, 10), (1,)),
    _norm("of groups", (2, 3, 2, 5, 7), (2, 3, 4)),
    _norm("all together", (2, 3, 4, 5), (0, 1, 2, 3)),
    _norm("one value each", (3, 4, 1, 1), (2, 3)),
    _norm("no images", (0, 3, 4, 5), (0, 2, 3)),
]

CASES: list[Case] = [
    *(case for family in (_CONV, _SAMPLE, _GRAM, _NORM) for cases in family for case in cases),
    *_POOL,
    *_RESAMPLE,
]

_EXAMPLES = {
    case.op: case
    for case in (
        *_conv("example", 2, 16, 32, (20, 18), (3, 3), padding=1, last=True),
        *_sample("example", 2, 16, 32 * 32, 24 * 24, 4, sorted_=True),
        *_gram("example", 2, 48, 48, 1024),
        *_norm("example", (4, 16, 32, 32), (0, 2, 3)),
        _pool("example", (2, 16, 32, 32), (2, 2), stride=2),
        _pool("example", (2, 16, 32, 32), (2, 2), op="pick_windows", stride=2),
        _pool("example", (2, 16, 32, 32), (2, 2), op="put_windows", stride=2),
        _resample("example", taps.bilinear(32, 64), taps.bilinear(32, 64), c=8),
    )
}
