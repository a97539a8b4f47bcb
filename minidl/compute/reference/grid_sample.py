"""The three corners of sampling an image at taps that come as arrays.

    T(image, weight, y) = sum  image[n, c, index[n, p, t]] * weight[n, p, t] * y[n, c, p]

p runs over the sampled points, t over the taps of each, and index is flat,
h * W + w.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of


def grid_sample_y(image: Array, weight: Array, index: Array) -> Array:
    """Mix pixels into points, (N, C, H W), (N, P, T) -> (N, C, P)."""
    return sum(
        weight[:, None, :, t] * _at(image, index[..., t]) for t in range(index.shape[-1])
    )


def grid_sample_image(weight: Array, y: Array, index: Array, pixels: int) -> Array:
    """Sum what each pixel gave, (N, P, T), (N, C, P) -> (N, C, H W)."""
    xp = xp_of(y)
    n, c, points = y.shape
    image = xp.zeros((n * c, pixels), y.dtype)
    planes = xp.arange(n * c)[:, None]
    for t in range(index.shape[-1]):
        places = xp.repeat(index[..., t], c, 0)
        xp.add.at(image, (planes, places), (weight[:, None, :, t] * y).reshape(n * c, points))
    return image.reshape(n, c, pixels)


def grid_sample_weight(image: Array, y: Array, index: Array) -> Array:
    """Sum what each tap met over channels, (N, C, H W), (N, C, P) -> (N, P, T)."""
    xp = xp_of(y)
    return xp.stack(
        [(_at(image, index[..., t]) * y).sum(1) for t in range(index.shape[-1])], -1
    )


def _at(image: Array, places: Array) -> Array:
    """Read the pixels (N, C, P) at flat places (N, P), the same in every channel."""
    return xp_of(image).take_along_axis(image, places[:, None, :], 2)
