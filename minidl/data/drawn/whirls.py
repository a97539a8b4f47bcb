"""A generated painting, for a style that nobody has to fetch: whirls of dark blue and yellow."""

from __future__ import annotations

import numpy as np

from minidl.errors import ArgumentError


def whirls(size: int = 192, seed: int = 3) -> np.ndarray:
    """Draw a painting, (3, size, size), float32 in [0, 1]; it is periodic, and so has no border.

    Noise is smeared along the level lines of smoother noise.
    """
    if size < 8 or seed < 0:
        raise ArgumentError(
            f"whirls: size must be 8 or more and seed 0 or more, received {size} and {seed}"
        )
    rng = np.random.default_rng(seed)
    hills, grain, broad = (_blurred(rng, size, radius) for radius in (size / 18, 1.6, size / 30))
    slopes = np.stack([np.roll(hills, -1, axis) - np.roll(hills, 1, axis) for axis in (0, 1)])
    down, across = slopes / (np.hypot(*slopes) + 1e-9)
    value = np.zeros((size, size))
    for step in (1, -1):
        y, x = np.mgrid[:size, :size].astype(float)
        for _ in range(14):
            at = np.rint(y).astype(int) % size, np.rint(x).astype(int) % size
            value += grain[at] + broad[at]
            y, x = y - step * across[at], x + step * down[at]
    colours = np.array([(0.05, 0.07, 0.25), (0.10, 0.22, 0.55), (0.25, 0.50, 0.75),
                        (0.65, 0.78, 0.70), (0.95, 0.75, 0.20), (0.98, 0.90, 0.55)])
    stops = np.array((-2, -1, -0.3, 0.3, 1, 2)) * value.std()
    return np.stack([np.interp(value, stops, c) for c in colours.T]).astype(np.float32)


def _blurred(rng: np.random.Generator, size: int, radius: float) -> np.ndarray:
    """Periodic noise of variance 1, smoothed by a Gaussian of this standard deviation."""
    frequency = np.fft.fftfreq(size)
    response = np.exp(-2 * (np.pi * radius * frequency) ** 2)
    spectrum = np.fft.fft2(rng.standard_normal((size, size)))
    noise = np.fft.ifft2(spectrum * response * response[:, None]).real
    return np.asarray(noise / noise.std())
