"""Launches grid_sample.cu: the three corners of sampling an image at taps that come as arrays.

The names, arguments and results are those of ``minidl.compute.reference.grid_sample``.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import launch_each
from minidl.cuda.prepare import WARP, ceil_div
from minidl.cuda.source import constants, folder, source_of

SOURCE = source_of(folder() / "grid_sample.cu")
EACH, CHUNK = constants(SOURCE)["EACH"], constants(SOURCE)["CHUNK"]
"""Channels or taps of a thread in v2, and taps in a range: the numbers of the .cu file."""


def _sizes(index: Array, pixels: int) -> dict[str, int]:
    return dict(zip("NPT", index.shape, strict=True), Q=pixels)


def _sample(kernel: str, image: Array, weight: Array, index: Array, each: int = 1) -> Array:
    n, c, pixels = image.shape
    y = xp_of(image).zeros((n, c, index.shape[1]), image.dtype)
    if y.size and index.size:
        arrays = {"image": image, "weight": weight, "index": index, "y": y}
        threads = n * ceil_div(c, each) * index.shape[1]
        launch_each(kernel, threads, **arrays, C=c, **_sizes(index, pixels))
    return y


def _gather(kernel: str, weight: Array, y: Array, index: Array, pixels: int) -> Array:
    n, c = y.shape[:2]
    image = xp_of(y).zeros((n, c, pixels), y.dtype)
    if image.size and index.size:
        arrays = {"weight": weight, "y": y, "index": index, "image": image}
        launch_each(kernel, image.size, **arrays, C=c, **_sizes(index, pixels))
    return image


def _gather_in_bins(kernel: str, weight: Array, y: Array, index: Array, pixels: int) -> Array:
    xp, (n, c, _) = xp_of(y), y.shape
    image = xp.zeros((n, c, pixels), y.dtype)
    if not image.size or not index.size:
        return image
    sizes = _sizes(index, pixels)
    chunks = n * ceil_div(index[0].size, CHUNK)
    bins = n * ceil_div(c, EACH) * ceil_div(pixels, constants(SOURCE, y.dtype)["BIN"])
    ranges = {"lowest": xp.empty(chunks, "int32"), "highest": xp.empty(chunks, "int32")}
    taps = {"weight": xp.ascontiguousarray(weight), "index": xp.ascontiguousarray(index)}
    launch_each("grid_sample_image_ranges", chunks * WARP, **taps, **ranges, **sizes)
    launch_each(kernel, bins * WARP, **taps, **ranges, y=y, image=image, C=c, **sizes)
    return image


def _compare(kernel: str, image: Array, y: Array, index: Array, each: int = 1) -> Array:
    n, points, taps = index.shape
    c, pixels = image.shape[1:]
    weight = xp_of(y).zeros(index.shape, y.dtype)
    if weight.size and c:
        arrays = {"image": image, "y": y, "index": index, "weight": weight}
        threads = n * points * ceil_div(taps, each)
        launch_each(kernel, threads, **arrays, C=c, **_sizes(index, pixels))
    return weight


# The ladders.

GRID_SAMPLE_Y = Ladder("grid_sample_y", [
    Rung("naive", _sample),
    Rung("four_channels", _sample, each=EACH),
])

GRID_SAMPLE_IMAGE = Ladder("grid_sample_image", [
    Rung("naive", _gather),
    Rung("bins", _gather_in_bins),
])

GRID_SAMPLE_WEIGHT = Ladder("grid_sample_weight", [
    Rung("naive", _compare),
    Rung("four_taps", _compare, each=EACH),
])


def grid_sample_y(image: Array, weight: Array, index: Array) -> Array:
    """Sample an image: (N, C, H W), (N, P, T) -> (N, C, P)."""
    return GRID_SAMPLE_Y.climb(image, weight, index=index)


def grid_sample_image(weight: Array, y: Array, index: Array, pixels: int) -> Array:
    """Add up what each pixel gave: (N, P, T), (N, C, P) -> (N, C, H W)."""
    return GRID_SAMPLE_IMAGE.climb(weight, y, index=index, pixels=pixels)


def grid_sample_weight(image: Array, y: Array, index: Array) -> Array:
    """Sum what each tap met, over channels: (N, C, H W), (N, C, P) -> (N, P, T)."""
    return GRID_SAMPLE_WEIGHT.climb(image, y, index=index)
