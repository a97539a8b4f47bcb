"""Cases: small calls of every op, on which each rung of its ladder is tried.

``minidl kernels check`` and the tests walk over ``CASES``; a rung that fits none of them fails the
suite. Sizes are pairwise different and divide no tile; what a case is there for is its setting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl.compute.arrays import Array, is_array, to_device
from minidl.compute.windows import windows_over
from minidl.kernels import image_cases, matmul_cases, pass_cases
from minidl.kernels.case import Call, Case, Random, Shape, Size, channels_last


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


# --- convolution ---


def _conv(
    setting: str, n: int, c: int, o: int, image: Size, kernel: Size, groups: int = 1,
    last: bool = False, taps_first: bool = False, **geometry: Any,
) -> list[Case]:
    """A case for each of the three corners, on one geometry.

    ``last``: all arrays lie channels last in memory; ``taps_first``: weights as (K, L, C, O).
    """
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
            if taps_first and "w" in (first, second):
                at = (first, second).index("w")
                stored = np.ascontiguousarray(arrays[at].transpose(2, 3, 1, 0))
                arrays[at] = stored.transpose(3, 2, 0, 1)
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
    _conv("odd packs", 2, 17, 21, (6, 5), (3, 3), padding=1),
    _conv("packs to few", 2, 32, 3, (6, 5), (3, 3), padding=1, last=True),
    _conv("few to packs", 2, 3, 48, (9, 8), (3, 3), stride=2, padding=1, last=True),
    _conv("packs of taps", 2, 16, 32, (5, 6), (2, 3), stride=2, last=True, taps_first=True),
    _conv("packs in turns", 3, 80, 20, (9, 8), (2, 2), padding=1, last=True, taps_first=True),
    _conv("Winograd, odd sizes", 2, 32, 48, (9, 11), (3, 3), padding=1, last=True, taps_first=True),
    _conv("Winograd, no padding", 1, 16, 64, (10, 10), (3, 3)),
    _conv("Winograd, two pixels of padding", 3, 80, 16, (8, 7), (3, 3), padding=2),
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


# --- Gram matrices ---


def _gram(setting: str, n: int, i: int, j: int, p: int, last: bool = False) -> list[Case]:
    """A case for each of the three corners, its arrays shaped by the same letters.

    ``last``: the images lie channels last in memory.
    """
    shapes = {"a": (n, i, p), "b": (n, j, p), "y": (n, i, j)}

    def drawn(letter: str, rng: Random, dtype: Any) -> Array:
        x = rng.standard_normal(shapes[letter]).astype(dtype)
        if letter == "y" or not last:
            return x
        return np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2)

    def corner(first: str, second: str, result: str) -> Case:
        def make(rng: Random, dtype: Any) -> Call:
            return tuple(drawn(letter, rng, dtype) for letter in (first, second)), {}

        return Case(f"gram_{result}", setting, make)

    return [corner("a", "b", "y"), corner("b", "y", "a"), corner("a", "y", "b")]


def _one_image(rng: Random, dtype: Any) -> Call:
    a = rng.standard_normal((2, 75, 40)).astype(dtype)
    return (a, a), {}


_GRAM = [
    _gram("few channels", 2, 3, 5, 49),
    _gram("one pixel", 3, 5, 4, 1),
    _gram("more than a tile", 2, 17, 70, 33),
    _gram("several slices", 2, 5, 3, 700),
    _gram("slices and tiles", 1, 66, 19, 530),
    _gram("channels last", 2, 17, 35, 90, last=True),
    _gram("packs, channels last", 1, 32, 16, 200, last=True),
    [Case("gram_y", "one image", _one_image)],
    _gram("no pixels", 2, 3, 4, 0),
    _gram("no images", 0, 3, 4, 5),
]


# --- normalising ---


def _norm(
    setting: str, shape: Shape, axes: tuple[int, ...], last: bool = False,
    scaled: tuple[int, ...] = (1,),
) -> list[Case]:
    """A case of normalising, and one of its derivative at the same place.

    There are weights along the axes ``scaled``. If ``last``, the last two are moved to the front of
    all but the first, in memory: channels, or groups of them, lie last.
    """

    def drawn(rng: Random, dtype: Any) -> Array:
        x = (rng.standard_normal(shape) * 3 + 2).astype(dtype)
        return np.moveaxis(np.moveaxis(x, (-2, -1), (1, 2)).copy(), (1, 2), (-2, -1)) if last else x

    def sized(kept: Callable[[int], bool]) -> Shape:
        return tuple(size if kept(axis) else 1 for axis, size in enumerate(shape))

    def weights(rng: Random, dtype: Any) -> Array:
        return rng.uniform(-2, 2, sized(scaled.__contains__)).astype(dtype)

    def forward(rng: Random, dtype: Any) -> Call:
        settings = {"axes": axes, "eps": 1e-5}
        return (drawn(rng, dtype), weights(rng, dtype), weights(rng, dtype)), settings

    def adjoint(rng: Random, dtype: Any) -> Call:
        mean, inverse = (
            rng.uniform(0.5, 2, sized(lambda axis: axis not in axes)).astype(dtype) for _ in "mi"
        )
        arrays = (drawn(rng, dtype), drawn(rng, dtype), mean, inverse, weights(rng, dtype))
        return arrays, {"axes": axes, "scaled": bool(scaled)}

    return [Case("normalize", setting, forward), Case("normalize_adjoint", setting, adjoint)]


_NORM = [
    _norm("batch", (3, 5, 3, 7), (0, 2, 3)),
    _norm("batch, packs", (3, 5, 4, 6), (0, 2, 3)),
    _norm("batch, small images", (3, 5, 2, 1), (0, 2, 3)),
    _norm("batch, channels last", (2, 5, 6, 7), (0, 2, 3), last=True),
    _norm("batch, channels last, many channels", (2, 37, 7, 11), (0, 2, 3), last=True),
    _norm("batch, channels last, four packs", (2, 64, 13, 11), (0, 2, 3), last=True),
    _norm("batch of rows", (150, 35), (0,)),
    _norm("batch, large images", (2, 3, 41, 53), (0, 2, 3)),
    _norm("batch, large images in packs", (2, 3, 40, 54), (0, 2, 3)),
    _norm("instance", (2, 3, 5, 7), (2, 3)),
    _norm("instance, without weights", (2, 3, 5, 7), (2, 3), scaled=()),
    _norm("instance, channels last", (2, 5, 6, 7), (2, 3), last=True),
    _norm("instance, channels last, without weights", (2, 4, 6, 7), (2, 3), last=True, scaled=()),
    _norm("instance, channels last, large images", (2, 36, 17, 19), (2, 3), last=True),
    _norm("layer", (3, 4, 5, 2), (1, 2, 3), scaled=(1, 2, 3)),
    _norm("layer, channels last", (3, 4, 5, 2), (1, 2, 3), last=True, scaled=(1, 2, 3)),
    _norm("layer of rows", (6, 10), (1,)),
    _norm("layer of long rows", (3, 4100), (1,)),
    _norm("layer of many rows", (275, 21), (1,)),
    _norm("of groups", (2, 3, 2, 5, 7), (2, 3, 4), scaled=(1, 2)),
    _norm("of groups, channels last", (2, 3, 2, 5, 7), (2, 3, 4), last=True, scaled=(1, 2)),
    _norm("of groups, channels last, without weights", (2, 3, 20, 5, 7), (2, 3, 4), last=True,
          scaled=()),
    _norm("of images, each element weighted", (2, 3, 5, 4), (2, 3), last=True, scaled=(1, 2, 3)),
    _norm("all together", (2, 3, 4, 5), (0, 1, 2, 3)),
    _norm("one value each", (3, 4, 1, 1), (2, 3)),
    _norm("no images", (0, 3, 4, 5), (0, 2, 3)),
]

CASES: list[Case] = [
    *(case for family in (_CONV, _GRAM, _NORM) for cases in family for case in cases),
    *image_cases.CASES,
    *matmul_cases.CASES,
    *pass_cases.CASES,
]

_EXAMPLES = {
    case.op: case
    for case in (
        *_conv("example", 2, 16, 32, (20, 18), (3, 3), padding=1, last=True),
        *_gram("example", 2, 48, 48, 1024),
        *_norm("example", (4, 16, 32, 32), (0, 2, 3)),
        *image_cases.EXAMPLES,
        *matmul_cases.EXAMPLES,
        *pass_cases.EXAMPLES,
    )
}
