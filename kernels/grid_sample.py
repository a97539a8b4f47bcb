"""Launches grid_sample.cu: the three corners of sampling an image at taps that come as arrays.

The names, arguments and results are those of ``minidl.compute.reference.grid_sample``.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.ladder import climb, rung
from minidl.cuda.launch import launch

THREADS = 256
"""Of a block."""

EACH = 4
"""Channels, or taps, per thread."""

CHUNK = 128
"""Taps in a range, as in bins.cuh."""

BIN = 4096
"""Bytes of sums that a warp keeps in shared memory: of four channels."""


def grid_sample_y(image: Array, weight: Array, index: Array) -> Array:
    """(N, C, H W), (N, P, T) -> (N, C, P): the sampled values."""
    return climb("grid_sample_y", image, weight, index=index)


def grid_sample_image(weight: Array, y: Array, index: Array, pixels: int) -> Array:
    """(N, P, T), (N, C, P) -> (N, C, H W): what each pixel gave, added up."""
    return climb("grid_sample_image", weight, y, index=index, pixels=pixels)


def grid_sample_weight(image: Array, y: Array, index: Array) -> Array:
    """(N, C, H W), (N, C, P) -> (N, P, T): what each tap met, summed over channels."""
    return climb("grid_sample_weight", image, y, index=index)


def _launch(kernel, threads, **arguments):
    launch(kernel, -(-threads // THREADS), THREADS, **arguments)


def _sizes(index, pixels):
    n, p, t = index.shape
    return {"N": n, "P": p, "T": t, "Q": pixels}


# The rungs of corner y.


@rung("grid_sample_y", 1)
def grid_sample_y_v1_naive(image, weight, index):
    return _sample("grid_sample_y_v1_naive", image, weight, index, 1)


@rung("grid_sample_y", 2)
def grid_sample_y_v2_four_channels(image, weight, index):
    return _sample("grid_sample_y_v2_four_channels", image, weight, index, EACH)


def _sample(kernel, image, weight, index, each):
    n, c, pixels = image.shape
    points = index.shape[1]
    y = xp_of(image).zeros((n, c, points), image.dtype)
    if y.size and index.size:
        arrays = {"image": image, "weight": weight, "index": index, "y": y}
        _launch(kernel, n * -(-c // each) * points, **arrays, C=c, **_sizes(index, pixels))
    return y


# The rungs of corner image.


@rung("grid_sample_image", 1)
def grid_sample_image_v1_naive(weight, y, index, pixels):
    n, c = y.shape[:2]
    image = xp_of(y).zeros((n, c, pixels), y.dtype)
    if image.size and index.size:
        arrays = {"weight": weight, "y": y, "index": index, "image": image}
        _launch("grid_sample_image_v1_naive", image.size, **arrays, C=c, **_sizes(index, pixels))
    return image


@rung("grid_sample_image", 2)
def grid_sample_image_v2_bins(weight, y, index, pixels):
    xp, (n, c, _) = xp_of(y), y.shape
    image = xp.zeros((n, c, pixels), y.dtype)
    if not image.size or not index.size:
        return image
    sizes = _sizes(index, pixels)
    chunks = n * -(-index[0].size // CHUNK)
    bins = n * -(-c // EACH) * -(-pixels * EACH * y.itemsize // BIN)
    ranges = {"lowest": xp.empty(chunks, "int32"), "highest": xp.empty(chunks, "int32")}
    taps = {"weight": xp.ascontiguousarray(weight), "index": xp.ascontiguousarray(index)}
    _launch("grid_sample_image_ranges", chunks * 32, **taps, **ranges, **sizes)
    arrays = {**taps, **ranges, "y": y, "image": image}
    _launch("grid_sample_image_v2_bins", bins * 32, **arrays, C=c, **sizes)
    return image


# The rungs of corner weight.


@rung("grid_sample_weight", 1)
def grid_sample_weight_v1_naive(image, y, index):
    return _compare("grid_sample_weight_v1_naive", image, y, index, 1)


@rung("grid_sample_weight", 2)
def grid_sample_weight_v2_four_taps(image, y, index):
    return _compare("grid_sample_weight_v2_four_taps", image, y, index, EACH)


def _compare(kernel, image, y, index, each):
    n, points, taps = index.shape
    c, pixels = image.shape[1:]
    weight = xp_of(y).zeros(index.shape, y.dtype)
    if weight.size and c:
        arrays = {"image": image, "y": y, "index": index, "weight": weight}
        _launch(kernel, n * points * -(-taps // each), **arrays, C=c, **_sizes(index, pixels))
    return weight
