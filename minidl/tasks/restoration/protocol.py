"""How super-resolution is measured, step by step, as the figures in papers were.

    read_bytes    the photograph, bytes
    luma          Y alone, rounded to bytes
    modcrop       rows and columns dropped until the scale divides both sizes
    degrade       shrunk by imresize, and not rounded
    enlarge       enlarged by imresize: the "bicubic" of the tables
    restored      what the network makes of it
    finished      clipped, rounded to bytes
    shave         ``scale`` pixels less on each side
    quality       PSNR and SSIM; of a set, the mean of its images' decibels

With these steps the authors' weights give the published figures to the second decimal. What
another recipe costs, on Set5 at scale 3 (SRCNN 9-5-5, authors' weights; bicubic beside it):

    recipe                                   bicubic     SRCNN
    as above                                   30.39     32.75
    no border shaved                           30.40     32.67
    no rounding at the end                     30.40     32.76
    Y not rounded                              30.40     32.76
    the small image made of bytes              30.39     32.72
    shrunk without antialiasing                29.72     27.48
    zeros around the image, as a network pads  30.39     29.97
    the same, no border shaved                 30.40     22.92

Each is an option of ``Recipe`` (the last two are the network's ``padding``).

Source: Dong et al. 2014, "Learning a deep convolutional network for image super-resolution",
section 4, and the authors' MATLAB programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minidl.autograd import no_grad
from minidl.compute.arrays import to_device
from minidl.data.images import ENDINGS, read_image
from minidl.errors import DataError, ShapeError, message
from minidl.tasks.restoration.imresize import imresize, to_bytes
from minidl.tasks.restoration.luma import luma
from minidl.tasks.restoration.noise import add_noise
from minidl.tasks.restoration.quality import quality
from minidl.tasks.restoration.report import Report, Row
from minidl.tensor import Tensor

Model = Callable[[Tensor], Tensor]
"""A network in evaluation mode, or any function: (1, 1, H, W) -> (1, 1, H, W), from 0 to 1."""

Images = Mapping[str, np.ndarray] | Sequence[np.ndarray]
"""Photographs of uint8, (3, H, W), (1, H, W) or (H, W)."""


@dataclass(frozen=True)
class Recipe:
    """The choices in which comparisons differ."""

    shaved: bool = True
    """Whether ``scale`` pixels on each side are left out."""
    clipped: bool = True
    """Whether the answer is clipped to what bytes can be."""
    rounded: bool = True
    """Whether the answer is rounded to bytes (which clips, too)."""
    luma_rounded: bool = True
    """Whether Y is rounded to bytes, before anything else."""
    small_rounded: bool = False
    """Whether bytes are shrunk to bytes, as by a program that reads and writes files."""
    antialias: bool = True
    """Whether the kernel is widened for shrinking, so that no pixel is skipped."""


PUBLISHED = Recipe()
"""The steps above, as papers take them."""

RED_NET = Recipe(shaved=False, clipped=False, rounded=False)
"""The steps of RED-Net's own program."""


# --- the steps ---


def read_bytes(path: str | Path) -> np.ndarray:
    """Read an image file as bytes, (3, H, W) uint8."""
    return to_bytes(255 * read_image(path))


def read_folder(folder: str | Path) -> dict[str, np.ndarray]:
    """Read all images of a folder, by name without ending, in order; DataError if none."""
    root = Path(folder)
    files = sorted(p for p in root.glob("*") if p.suffix.lower() in ENDINGS)
    if not files:
        raise DataError(f"read_folder: there are no images in '{root}'")
    return {path.stem: read_bytes(path) for path in files}


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Drop the last rows and columns, so that ``scale`` divides H and W: (..., H, W)."""
    h, w = (size // scale * scale for size in image.shape[-2:])
    if not h or not w:
        raise ShapeError(f"modcrop: an image of shape {image.shape} is smaller than {scale} pixels")
    return image[..., :h, :w]


def degrade(y: np.ndarray, scale: int, antialias: bool = True) -> np.ndarray:
    """Shrink an image: (..., H, W) -> (..., H / scale, W / scale)."""
    return imresize(y, 1 / scale, antialias=antialias)


def enlarge(small: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge an image bicubically: what a network is given, and must beat."""
    return imresize(small, scale)


def restored(model: Model, y: np.ndarray) -> np.ndarray:
    """Apply a model to one image, (H, W) -> (H, W), on the device of its weights.

    Raises
    ------
    ShapeError
        If the answer has another size.
    """
    weights = next(iter(getattr(model, "parameters", list)()), None)
    device, dtype = ("cpu", y.dtype) if weights is None else (weights.device, weights.dtype)
    with no_grad():
        answer = model(Tensor(to_device(y[None, None].astype(dtype), device)))
    if answer.shape != (1, 1, *y.shape):
        raise ShapeError(
            message(
                "restored: the model must answer with an image of the same size",
                f"of {(1, 1, *y.shape)} it made {answer.shape}",
                hint='a network trained with padding="valid" is tested with "replicate".',
            )
        )
    return answer.numpy()[0, 0].astype(y.dtype)


def finished(y: np.ndarray, recipe: Recipe = PUBLISHED) -> np.ndarray:
    """Scale 0..1 to 0..255, float64, clipped and rounded if the recipe says so."""
    grey = 255 * y.astype(np.float64)
    if recipe.rounded:
        return to_bytes(grey).astype(np.float64)
    return grey.clip(0, 255) if recipe.clipped else grey


def shave(image: np.ndarray, border: int) -> np.ndarray:
    """Leave out ``border`` pixels on each side: (..., H, W)."""
    h, w = image.shape[-2:]
    return image[..., border : h - border, border : w - border]


# --- the whole ---


def pair_of(
    image: np.ndarray, scale: int, recipe: Recipe = PUBLISHED
) -> tuple[np.ndarray, np.ndarray]:
    """Make of a photograph what a network is given and should answer: (H, W) each, 0 to 1.

    Parameters
    ----------
    image : array of uint8, shape (3, H, W), (1, H, W) or (H, W)
    """
    if image.dtype != np.uint8:
        raise DataError(
            message(f"pair_of: needs a photograph of uint8, received {image.dtype}",
                    hint="read_bytes reads one.")
        )
    y = luma(image) / 255 if recipe.luma_rounded else luma(image / 255)
    target = modcrop(y, scale)
    if recipe.small_rounded:
        small = degrade(to_bytes(255 * target), scale, recipe.antialias) / 255
    else:
        small = degrade(target, scale, recipe.antialias)
    return enlarge(small, scale), target


def evaluate(
    model: Model, images: Images, scale: int, recipe: Recipe = PUBLISHED
) -> Report:
    """Measure PSNR and SSIM of bicubic enlargement and of a model, by image and on average.

    Parameters
    ----------
    model : callable, (1, 1, H, W) -> (1, 1, H, W)
        A network in evaluation mode, or any function; it sees the enlarged Y, from 0 to 1.
    images : photographs of uint8, by name or in a sequence
    scale : int
    recipe : Recipe
    """
    rows = []
    for name, image in _named(images):
        given, target = pair_of(image, scale, recipe)
        rows.append(_row(name, given, restored(model, given), target, scale, recipe))
    return Report("bicubic", rows)


def evaluate_denoising(
    model: Model, images: Images, sigma: float, seed: int = 0, recipe: Recipe = RED_NET
) -> Report:
    """Measure PSNR and SSIM of noisy images and of a model, by image and on average.

    The noise is Gaussian, of ``sigma`` grey levels; it depends on ``seed`` and on the place of an
    image in the set. Nothing is shaved.
    """
    rows = []
    for i, (name, image) in enumerate(_named(images)):
        target = luma(image) / 255
        given = add_noise(target, sigma, np.random.default_rng([seed, i]))
        rows.append(_row(name, given, restored(model, given), target, 0, recipe))
    return Report("noisy", rows)


def _row(
    name: str, given: np.ndarray, answer: np.ndarray, target: np.ndarray, border: int,
    recipe: Recipe,
) -> Row:
    border = border if recipe.shaved else 0
    truth = shave(255 * target, border)
    before, after = (
        quality(shave(finished(y, recipe), border), truth, 255) for y in (given, answer)
    )
    return Row(name, before, after)


def _named(images: Any) -> list[tuple[str, np.ndarray]]:
    if isinstance(images, Mapping):
        return list(images.items())
    return [(f"image {i}", image) for i, image in enumerate(images)]
