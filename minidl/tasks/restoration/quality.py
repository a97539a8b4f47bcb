"""How close a restored image is to the true one: PSNR in decibels, and SSIM.

Sources: Wang, Bovik, Sheikh & Simoncelli 2004, "Image quality assessment: from error visibility to
structural similarity", section III (equation 13, the Gaussian window, K1 and K2); windows that
would reach over the border are left out, as in the authors' program.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from minidl.errors import ArgumentError, DtypeError, ShapeError, message

WINDOW, SIGMA = 11, 1.5
"""Pixels on a side of SSIM's Gaussian window, and its standard deviation."""

K1, K2 = 0.01, 0.03
"""Constants that keep SSIM's quotients from 0 / 0, as shares of the peak."""


class Quality(NamedTuple):
    """PSNR and SSIM of one image."""

    psnr: float
    """Peak signal-to-noise ratio in decibels; infinite for two equal images."""
    ssim: float
    """Structural similarity, at most 1."""


def psnr(answer: np.ndarray, target: np.ndarray, peak: float | None = None) -> float:
    """Measure the peak signal-to-noise ratio, 20 log10(peak / root mean square error), in dB.

    Parameters
    ----------
    answer, target : arrays, shape (H, W)
    peak : float, optional
        The largest possible value. Must be given for floats; of uint8 it is 255.

    Raises
    ------
    ShapeError
        If these are not two images of one size.
    ArgumentError
        If floats come without ``peak``.

    Examples
    --------
    >>> import numpy as np
    >>> round(psnr(np.zeros((4, 4)), np.full((4, 4), 0.1), peak=1), 6)
    20.0
    """
    answer, target, peak = _both("psnr", answer, target, peak)
    error = float(((answer - target) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(peak * peak / error)


def ssim(answer: np.ndarray, target: np.ndarray, peak: float | None = None) -> float:
    """Measure the mean structural similarity of all 11 x 11 windows.

    Parameters and errors are those of ``psnr``, and an image must have room for a window.

    Notes
    -----
    With Gaussian-weighted means m, variances v and covariance c of two windows,
    SSIM = (2 m m' + C1) (2 c + C2) / ((m^2 + m'^2 + C1) (v + v' + C2)), Ck = (Kk peak)^2.
    """
    answer, target, peak = _both("ssim", answer, target, peak)
    if min(answer.shape) < WINDOW:
        raise ShapeError(
            message(
                f"ssim: an image must have at least {WINDOW} x {WINDOW} pixels",
                f"received shape {answer.shape}",
            )
        )
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    mean, other = _blurred(answer), _blurred(target)
    both = mean * other
    variances = _blurred(answer * answer + target * target) - (mean**2 + other**2)
    covariance = _blurred(answer * target) - both
    similar = (2 * both + c1) * (2 * covariance + c2)
    return float((similar / ((mean**2 + other**2 + c1) * (variances + c2))).mean())


def quality(answer: np.ndarray, target: np.ndarray, peak: float | None = None) -> Quality:
    """Measure PSNR and SSIM of one image."""
    return Quality(psnr(answer, target, peak), ssim(answer, target, peak))


def _blurred(image: np.ndarray) -> np.ndarray:
    """Average under the Gaussian window, wherever it lies within the image."""
    places = np.arange(WINDOW) - WINDOW // 2
    weight = np.exp(-(places**2) / (2 * SIGMA**2))
    weight /= weight.sum()
    rows = sliding_window_view(image, WINDOW, 0) @ weight
    return sliding_window_view(rows, WINDOW, 1) @ weight


def _both(
    who: str, answer: np.ndarray, target: np.ndarray, peak: float | None
) -> tuple[np.ndarray, np.ndarray, float]:
    """Check two images; give both as float64, and the peak."""
    answer, target = np.asarray(answer), np.asarray(target)
    if answer.ndim != 2 or answer.shape != target.shape or not answer.size:
        raise ShapeError(
            message(
                f"{who}: needs two images (H, W) of one size",
                f"received shapes {answer.shape} and {target.shape}",
            )
        )
    if answer.dtype != target.dtype:
        # Bytes against floats from 0 to 1 would give a number, and a wrong one.
        raise DtypeError(
            message(f"{who}: the images differ in dtype: {answer.dtype} and {target.dtype}")
        )
    if peak is None:
        if answer.dtype != np.uint8:
            raise ArgumentError(
                message(
                    f"{who}: images of {answer.dtype} need a peak",
                    hint="peak=1 or peak=255, whichever is white.",
                )
            )
        peak = 255.0
    return answer.astype(np.float64), target.astype(np.float64), float(peak)
