"""Luma and chroma as MATLAB's rgb2ycbcr has them: Y from 16 to 235, Cb and Cr from 16 to 240.

    Y  =  16 +  65.481 R + 128.553 G +  24.966 B
    Cb = 128 -  37.797 R -  74.203 G + 112     B          R, G, B from 0 to 1
    Cr = 128 + 112     R -  93.786 G -  18.214 B

The eye sees fine detail in Y. So super-resolution networks see Y alone, their figures are of Y
alone, and Cb and Cr are enlarged bicubically. Floats run from 0 to 1 here (so Y from 16/255), and
uint8 becomes uint8, rounded as MATLAB rounds it.

Source: ITU-R BT.601, section 3.5 (8 bits); the decimals are MATLAB's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.errors import DtypeError, ShapeError, message
from minidl.tasks.restoration.imresize import to_bytes

OFFSET = np.array([16.0, 128.0, 128.0])
"""Y, Cb and Cr of black, in bytes."""
MATRIX = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]
)
"""Rows of Y, Cb and Cr, in bytes; columns of R, G and B from 0 to 1."""


def luma(rgb: np.ndarray) -> np.ndarray:
    """Y of an RGB image, or a grey image as it is: (3, H, W) or (1, H, W) or (H, W) -> (H, W).

    >>> import numpy as np
    >>> luma(np.array([255, 0, 0], np.uint8).reshape(3, 1, 1)).item()
    81
    """
    if rgb.ndim == 2:
        return rgb
    if rgb.ndim == 3 and len(rgb) == 1:
        return rgb[0]
    pixels = _pixels("luma", rgb)
    return _like(rgb, OFFSET[0] + np.tensordot(MATRIX[0], pixels, 1))


def rgb_to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    """Turn RGB into Y, Cb and Cr: (3, H, W) -> (3, H, W)."""
    pixels = _pixels("rgb_to_ycbcr", rgb)
    return _like(rgb, OFFSET[:, None, None] + np.tensordot(MATRIX, pixels, 1))


def ycbcr_to_rgb(ycbcr: np.ndarray) -> np.ndarray:
    """Turn Y, Cb and Cr into RGB, clipped to its range: (3, H, W) -> (3, H, W)."""
    pixels = _pixels("ycbcr_to_rgb", ycbcr)
    centred = 255 * pixels - OFFSET[:, None, None]
    return _like(ycbcr, np.clip(255 * np.tensordot(np.linalg.inv(MATRIX), centred, 1), 0, 255))


def _pixels(who: str, image: np.ndarray) -> np.ndarray:
    """Turn an image into float64 from 0 to 1."""
    if image.ndim != 3 or len(image) != 3:
        raise ShapeError(
            message(f"{who}: needs an image (3, H, W)", f"received shape {image.shape}")
        )
    if image.dtype == np.uint8:
        return image / 255
    if image.dtype.kind != "f":
        raise DtypeError(f"{who}: needs floats from 0 to 1, or uint8; received {image.dtype}")
    return image.astype(np.float64)


def _like(given: np.ndarray, values: Any) -> np.ndarray:
    """Turn values from 0 to 255 into the dtype and range of ``given``."""
    return to_bytes(values) if given.dtype == np.uint8 else (values / 255).astype(given.dtype)
