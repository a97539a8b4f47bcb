"""Samples of grid sampling, at points away from the edges between pixels."""

import numpy as np

from minidl.samples import Sample, normal

X, GRID = (2, 3, 5, 4), (2, 3, 2, 2)


def between_pixels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw points between the centres of pixels, some outside the image.

    The last axis is (across, down), in the coordinates of align_corners=False.
    """
    h, w = X[2:]
    size = np.array([w, h])
    whole = rng.integers(-2, size + 1, shape)
    pixels = whole + rng.uniform(0.2, 0.8, shape)
    # Away from the middles between the border and its mirror, where clipping bends.
    return (2 * pixels + 1) / size - 1


def between_corners(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw points between the centres of pixels for align_corners=True, some outside."""
    size = np.array([X[3], X[2]])
    pixels = rng.integers(-2, size + 1, shape) + rng.uniform(0.2, 0.8, shape)
    return 2 * pixels / (size - 1) - 1


def _sampled(mode: str, padding_mode: str, align_corners: bool) -> Sample:
    setting = f"{mode}, {padding_mode}" + (", align_corners" if align_corners else "")
    return Sample(
        "grid_sample",
        setting,
        lambda F, x, g: F.grid_sample(x, g, mode, padding_mode, align_corners),
        [X, GRID],
        [normal, between_corners if align_corners else between_pixels],
    )


SAMPLES = [
    *[
        _sampled(mode, padding_mode, align_corners)
        for mode in ("bilinear", "nearest", "bicubic")
        for padding_mode in ("zeros", "border", "reflection")
        for align_corners in (False, True)
    ],
    Sample("affine_grid", "", lambda F, t: F.affine_grid(t, (2, 3, 4, 5), False) ** 2, [(2, 2, 3)]),
    Sample("affine_grid", "one row",
           lambda F, t: F.affine_grid(t, (2, 3, 1, 4), False) ** 2, [(2, 2, 3)]),
    Sample("affine_grid", "align_corners", lambda F, t: F.affine_grid(t, (2, 3, 4, 5), True) ** 2,
           [(2, 2, 3)]),
]
