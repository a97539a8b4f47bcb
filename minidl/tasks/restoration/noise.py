"""Gaussian noise, its standard deviation given in grey levels of 0 to 255, as papers do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.errors import ArgumentError, DtypeError, message


def add_noise(image: np.ndarray, sigma: float, seed: int | np.random.Generator = 0) -> np.ndarray:
    """Add independent Gaussian noise to an image; not clipped, as clipping would bias it.

    Parameters
    ----------
    image : array of floats
        Values from 0 to 1.
    sigma : float
        Standard deviation in grey levels: 50 means 50 / 255.
    seed : int or Generator

    Raises
    ------
    DtypeError
        If the image is not of floats.
    ArgumentError
        If ``sigma`` is negative.
    """
    if image.dtype.kind != "f":
        raise DtypeError(
            message(
                f"add_noise: needs floats from 0 to 1, received {image.dtype}",
                hint="divide bytes by 255.",
            )
        )
    if not sigma >= 0:
        raise ArgumentError(f"add_noise: sigma must be at least 0, received {sigma}")
    drawn = np.random.default_rng(seed).standard_normal(image.shape)
    return image + (sigma / 255 * drawn).astype(image.dtype)


class NoiseOfLevels:
    """A transform that adds noise of one of several levels, drawn anew for every example.

    ``ArrayDataset(clean, clean, transform=NoiseOfLevels([10, 30, 50, 70]))`` gives pairs
    (noisy, clean), with new noise in every epoch.
    """

    def __init__(self, sigmas: Sequence[float]):
        if not sigmas or not all(s >= 0 for s in sigmas):
            raise ArgumentError(f"NoiseOfLevels: sigmas must be at least 0, received {sigmas}")
        self.sigmas = tuple(sigmas)

    def __call__(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return add_noise(x, self.sigmas[int(rng.integers(len(self.sigmas)))], rng)
