"""Launches grid_sample.cu: the three corners of sampling an image at taps that come as arrays.

The names, arguments and results are those of ``minidl.compute.reference.grid_sample``. The rung of
packs, in grid_sample_packs.cu, takes images channels last, and leaves results so.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import launch_each, runs_natively
from minidl.cuda.prepare import WARP, ceil_div, empty
from minidl.cuda.source import constants, folder, source_of
from minidl.kernels.packs import SHARE, launch_packs, shares

SOURCE = source_of(folder() / "grid_sample.cu")
EACH, CHUNK = constants(SOURCE)["EACH"], constants(SOURCE)["CHUNK"]
"""Channels or taps of a thread in v3, and taps in a range: the numbers of the .cu file."""

PACKS = source_of(folder() / "grid_sample_packs.cu")


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


# By packs of channels: images (N, C, P) lie as (N, P, C).


def _sample_in_packs(kernel: str, image: Array, weight: Array, index: Array) -> Array:
    (n, c, pixels), points = image.shape, index.shape[1]
    y = empty(xp_of(image), (n, points, c), image.dtype)
    if not index.size or not pixels:
        y[...] = 0
    elif y.size:
        many, parts = shares(PACKS, c, image)
        each = _each(image, c * index.shape[2])
        arrays = {"image": _last(image), "weight": weight, "index": index, "y": y}
        sizes = {**_sizes(index, pixels), "C": c, "many": many, "each": each}
        threads = n * ceil_div(points, each) * parts
        launch_packs(kernel, threads, SHARE, y, **arrays, **sizes)
    return y.transpose(0, 2, 1)


def _gather_in_packs(kernel: str, weight: Array, y: Array, index: Array, pixels: int) -> Array:
    n, c, _ = y.shape
    image = empty(xp_of(y), (n, pixels, c), y.dtype)
    if not index.size:
        image[...] = 0
    elif image.size:
        many, parts = shares(PACKS, c, y)
        arrays = {"weight": weight, "y": _last(y), "index": index, "image": image}
        sizes = {**_sizes(index, pixels), "C": c, "many": many}
        work = (index[0].size + pixels) * c // parts + 1
        launch_packs(kernel, n * parts, work, image, **arrays, **sizes)
    return image.transpose(0, 2, 1)


def _compare_in_packs(kernel: str, image: Array, y: Array, index: Array) -> Array:
    n, points, taps = index.shape
    c, pixels = image.shape[1:]
    weight = empty(xp_of(y), index.shape, y.dtype)
    if not c:
        weight[...] = 0
    elif weight.size:
        each = _each(image, c * taps)
        arrays = {"image": _last(image), "y": _last(y), "index": index, "weight": weight}
        sizes = {**_sizes(index, pixels), "C": c, "each": each}
        launch_packs(kernel, n * ceil_div(points, each), SHARE, weight, **arrays, **sizes)
    return weight


def _last(image: Array) -> Array:
    """The image as it lies in memory, if that is channels last."""
    return image.transpose(0, 2, 1)


def _each(array: Array, numbers: int) -> int:
    """The points that a thread takes, one of which means so many numbers."""
    return ceil_div(SHARE, numbers) if runs_natively(array) else 1


# The ladders.

GRID_SAMPLE_Y = Ladder("grid_sample_y", [
    Rung("naive", _sample),
    Rung("packs", _sample_in_packs, native=True),
    Rung("four_channels", _sample, each=EACH),
])

GRID_SAMPLE_IMAGE = Ladder("grid_sample_image", [
    Rung("naive", _gather),
    Rung("packs", _gather_in_packs, native=True),
    Rung("bins", _gather_in_bins),
])

GRID_SAMPLE_WEIGHT = Ladder("grid_sample_weight", [
    Rung("naive", _compare),
    Rung("packs", _compare_in_packs, native=True),
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
