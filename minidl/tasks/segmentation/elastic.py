"""Elastic deformation: tissue bends, so a bent image with bent labels is another example.

Displacement vectors are drawn on a coarse grid, 3x3, each component from N(0, 10 pixels);
bicubic interpolation gives one to each pixel. Image and labels are read at the displaced places:
the image bilinearly, the labels from the nearest pixel, both from a mirror outside the border.

Source: Ronneberger, Fischer & Brox 2015, "U-Net", section 3.1. How image and labels are read, and
what lies outside, is common practice; the paper does not say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl.functional as F
from minidl.autograd import no_grad
from minidl.errors import ArgumentError, ShapeError, message
from minidl.tensor import Tensor


def displacement_field(
    size: tuple[int, int], rng: np.random.Generator, grid: int = 3, sigma: float = 10.0
) -> np.ndarray:
    """Draw a smooth random displacement of each pixel, in pixels: (2, H, W), (down, across).

    Parameters
    ----------
    size : (H, W)
    rng : numpy.random.Generator
    grid : int
        Vectors along each side; the outer ones lie on the corner pixels.
    sigma : float
        Standard deviation of each component, in pixels.
    """
    if grid < 1 or sigma < 0:
        raise ArgumentError(
            message(
                "displacement_field: grid must be at least 1, sigma not negative",
                f"received grid = {grid}, sigma = {sigma}",
            )
        )
    coarse = sigma * rng.standard_normal((1, 2, grid, grid))
    with no_grad():
        fine = F.interpolate(coarse, size=size, mode="bicubic", align_corners=True)
    return fine.data[0]


def warp(x: np.ndarray, displacement: np.ndarray, mode: str = "bilinear") -> np.ndarray:
    """Read an image at displaced places: y[.., i, j] = x[.., i + down[i, j], j + across[i, j]].

    (..., H, W), (2, H, W) -> (..., H, W)

    Parameters
    ----------
    x : array, shape (..., H, W)
        Mirrored at its border pixels, which are not repeated.
    displacement : array, shape (2, H, W)
        (down, across), in pixels.
    mode : {"bilinear", "bicubic", "nearest"}
        ``"nearest"`` for labels: it gives no values that x does not have.

    Raises
    ------
    ShapeError
        If the sizes differ.
    """
    h, w = x.shape[-2:]
    if displacement.shape != (2, h, w):
        raise ShapeError(
            message(
                "warp: the displacement must be (2, H, W), of the image's H and W",
                f"x has shape {x.shape}, read as (..., H, W); "
                f"displacement has shape {displacement.shape}",
            )
        )
    down = np.arange(h)[:, None] + displacement[0]
    across = np.arange(w) + displacement[1]
    # grid_sample counts from -1 to 1 between the centres of the corner pixels; float64,
    # because a float32 of that range cannot tell the pixels of a large image well apart.
    points = np.stack([2 * across / max(w - 1, 1) - 1, 2 * down / max(h - 1, 1) - 1], -1)
    planes = np.asarray(x, np.float64).reshape(1, -1, h, w)
    with no_grad():
        y = F.grid_sample(Tensor(planes), Tensor(points[None]), mode, "reflection", True)
    read = y.data.reshape(x.shape)
    return (np.rint(read) if x.dtype.kind in "iub" else read).astype(x.dtype)


class ElasticDeformation:
    """Bend an image and all that lies on its pixels by one random field.

    Parameters
    ----------
    grid : int
        Displacement vectors along each side.
    sigma : float
        Standard deviation of their components, in pixels.
    mode : {"bilinear", "bicubic"}
        How the image is read; labels are always read from the nearest pixel.
    """

    def __init__(self, grid: int = 3, sigma: float = 10.0, mode: str = "bilinear"):
        self.grid, self.sigma, self.mode = grid, sigma, mode

    def __call__(
        self, image: np.ndarray, *labels: np.ndarray, rng: np.random.Generator
    ) -> Any:
        """Bend an image (C, H, W) and labels (H, W); each keeps its dtype.

        Returns
        -------
        array, or tuple of arrays if there are labels
        """
        field = displacement_field(image.shape[-2:], rng, self.grid, self.sigma)
        bent = warp(image, field, self.mode)
        if not labels:
            return bent
        return (bent, *(warp(each, field, "nearest") for each in labels))
