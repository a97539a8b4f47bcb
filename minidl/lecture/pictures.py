"""Images as a person sees them: arrays in [0, 1] as grids, PNG files and panels of figures."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

import minidl.functional as F
from minidl.errors import MinidlError, ShapeError, message
from minidl.tensor import Tensor


def image_grid(images: Any, columns: int, scale: int = 1, gap: int = 1) -> np.ndarray:
    """Lay images out in rows, left to right, as one picture.

    (N, C, H, W) -> (height, width) or (height, width, 3), uint8

    Parameters
    ----------
    images : Tensor or array, shape (N, C, H, W)
        Values in [0, 1] (others are clipped); C is 1 (grey) or 3 (RGB).
    columns : int
        Images in a row.
    scale : int
        Picture pixels per image pixel.
    gap : int
        White picture pixels between images.

    Raises
    ------
    ShapeError
        If the images are not (N, 1 or 3, H, W).
    """
    array = np.asarray(images.detach().numpy() if isinstance(images, Tensor) else images)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or not array.size:
        raise ShapeError(
            message(
                "image_grid: images must be grey or RGB, and at least one",
                f"received shape {array.shape}, read as (N, C, H, W)",
            )
        )
    n, c, h, w = array.shape
    rows = -(-n // columns)
    h, w = h * scale, w * scale
    page = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), 255, np.uint8)
    pixels = (np.clip(array, 0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    for i, image in enumerate(pixels.repeat(scale, 1).repeat(scale, 2)):
        top, left = (i // columns) * (h + gap), (i % columns) * (w + gap)
        page[top : top + h, left : left + w] = image
    return page[..., 0] if c == 1 else page


def enlarged(images: np.ndarray, width: int = 40) -> np.ndarray:
    """Enlarge small images smoothly to about ``width`` pixels, for the eye to read them.

    (N, C, H, W) -> (N, C, k H, k W), by bicubic interpolation
    """
    scale = max(round(width / images.shape[-1]), 1)
    return F.interpolate(images, scale_factor=scale, mode="bicubic").data if scale > 1 else images


def png_bytes(picture: np.ndarray) -> bytes:
    """Turn a picture, (height, width) or (height, width, 3) of uint8, into a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return file.getvalue()


def save_png(path: str | os.PathLike[str], picture: np.ndarray) -> Path:
    """Write a picture as a PNG file, making its folder if needed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(png_bytes(picture))
    return target


def figure_of(width: float, height: float) -> Any:
    """Make a matplotlib Figure of so many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MinidlError(
            message("the pictures need matplotlib", hint="pip install 'minidl[plots]'.")
        ) from cause
    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def show(axes: Any, image: np.ndarray, title: str = "") -> None:
    """Draw an image, (3, H, W) in [0, 1], its pixels as squares, without ticks."""
    axes.imshow(np.moveaxis(image, 0, -1), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=11)
