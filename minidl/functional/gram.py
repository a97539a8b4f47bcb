"""What style transfer measures: Gram matrices, and how rough an image is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.dispatch import run
from minidl.errors import ShapeError
from minidl.functional.pointwise import abs, pow
from minidl.functional.reduce import sum
from minidl.functional.shape import reshape
from minidl.kinds import Bilinear
from minidl.tensor import Tensor, as_tensor


class Inner(Bilinear):
    """T(a, b, y) = sum a[n, i, p] b[n, j, p] y[n, i, j], over channels i, j and pixels p.

    Corner y at (x, x) is the Gram matrix of x.
    """

    letters = ("a", "b", "y")

    def corner_a(self, b: Array, y: Array) -> Array:
        return run(reference.gram_a, b, y)

    def corner_b(self, a: Array, y: Array) -> Array:
        return run(reference.gram_b, a, y)

    def corner_y(self, a: Array, b: Array) -> Array:
        return run(reference.gram_y, a, b)


def gram_matrix(x: Any, normalize: bool = False) -> Tensor:
    """Multiply channels with each other, summed over the image.

    (N, C, H, W) -> (N, C, C)

    G[n, a, b] = sum over h, w of x[n, a, h, w] * x[n, b, h, w]

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (C, H, W)
    normalize : bool
        Divide by C H W (Johnson, Alahi & Fei-Fei 2016, "Perceptual losses for
        real-time style transfer", equation 3). Default: the plain sums of Gatys,
        Ecker & Bethge 2016, "Image style transfer", equation 3.
    """
    x = _images("gram_matrix", x)
    x = x if x.dtype.kind == "f" else x.astype(np.int64)  # sums of integers
    flat = reshape(x, (math.prod(x.shape[:-3]), x.shape[-3], x.shape[-2] * x.shape[-1]))
    gram = Inner().corner("y")(flat, flat)
    gram = gram if x.ndim == 4 else reshape(gram, gram.shape[1:])
    return gram * (1 / math.prod(x.shape[-3:])) if normalize else gram


def total_variation(x: Any, power: float = 1.0) -> Tensor:
    """Sum the differences of neighbouring pixels, |d| ** power, over each image.

    (N, C, H, W) -> (N,)

    Source: Rudin, Osher & Fatemi 1992; ``power=2`` as in Mahendran & Vedaldi
    2015, "Understanding deep image representations by inverting them", equation 5.
    """
    x = _images("total_variation", x)
    down = x[..., 1:, :] - x[..., :-1, :]
    across = x[..., :, 1:] - x[..., :, :-1]
    axes = (-3, -2, -1)
    return sum(_power(down, power), axes) + sum(_power(across, power), axes)


def _power(d: Tensor, power: float) -> Tensor:
    return pow(d, 2) if power == 2 else abs(d) if power == 1 else pow(abs(d), power)


def _images(who: str, x: Any) -> Tensor:
    x = as_tensor(x)
    if x.ndim not in (3, 4):
        raise ShapeError(f"{who}: x needs the axes (N, C, H, W), received shape {x.shape}")
    return x
