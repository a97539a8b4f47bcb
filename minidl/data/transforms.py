"""Transforms of images (C, H, W): ``transform(array, rng)`` gives another array.

What is random in them comes from ``rng``, so that a loader can repeat it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minidl.compute.windows import pair
from minidl.data.dataset import Transform
from minidl.errors import ArgumentError, DtypeError, ShapeError, message

Rng = np.random.Generator


class Compose:
    """Apply several transforms, one after the other: ``Compose(first, second)``."""

    def __init__(self, *transforms: Transform):
        if not all(callable(t) for t in transforms):
            raise ArgumentError(
                message(
                    "Compose: every argument must be a transform",
                    f"received {[type(t).__name__ for t in transforms]}",
                    hint="write Compose(first, second), without a list.",
                )
            )
        self.transforms = transforms

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        for transform in self.transforms:
            x = transform(x, rng)
        return x


class ToFloat:
    """Turn uint8 pixels (H, W) or (H, W, C) into float32 in [0, 1], (C, H, W)."""

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        if x.dtype != np.uint8 or x.ndim not in (2, 3):
            raise ShapeError(
                f"ToFloat: needs uint8 of shape (H, W) or (H, W, C), not {x.dtype} {x.shape}"
            )
        image = x[None] if x.ndim == 2 else x.transpose(2, 0, 1)
        return np.ascontiguousarray(image, np.float32) / np.float32(255)


class Normalize:
    """Compute (x - mean) / std, with one number per channel or for all."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        self.mean = np.asarray(mean, np.float32).reshape(-1, 1, 1)
        self.std = np.asarray(std, np.float32).reshape(-1, 1, 1)
        if not (self.std > 0).all():
            raise ArgumentError(f"Normalize: std must be positive, received {std}")

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        given = max(len(self.mean), len(self.std))
        if x.ndim != 3 or given not in (1, x.shape[0]):
            # NumPy would repeat a grey image until it had as many channels as the mean.
            raise ShapeError(
                message(
                    "Normalize: the image and the mean disagree on the number of channels C",
                    f"the image has shape {x.shape}, read as (C, H, W)",
                    f"mean and std are for {given} channels",
                )
            )
        return (x - self.mean) / self.std


class RandomHorizontalFlip:
    """Exchange left and right with probability p."""

    def __init__(self, p: float = 0.5):
        self.p = _probability("RandomHorizontalFlip", p)

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        return x[..., ::-1].copy() if rng.random() < self.p else x


class RandomCrop:
    """Cut a random window, its size in pixels, from the image framed by ``padding`` zeros."""

    def __init__(self, size: int | tuple[int, int], padding: int | tuple[int, int] = 0):
        self.size = pair("RandomCrop: size", size, 1)
        self.padding = pair("RandomCrop: padding", padding, 0)

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        frame = [(0, 0)] * (x.ndim - 2) + [(p, p) for p in self.padding]
        framed = np.pad(x, frame)
        top, left = (int(rng.integers(free + 1)) for free in _free("RandomCrop", framed, self.size))
        return framed[..., top : top + self.size[0], left : left + self.size[1]].copy()


class CenterCrop:
    """Cut a window, its size in pixels, from the middle of the image."""

    def __init__(self, size: int | tuple[int, int]):
        self.size = pair("CenterCrop: size", size, 1)

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        top, left = (free // 2 for free in _free("CenterCrop", x, self.size))
        return x[..., top : top + self.size[0], left : left + self.size[1]].copy()


def _free(who: str, x: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    free = x.shape[-2] - size[0], x.shape[-1] - size[1]
    if min(free) < 0:
        raise ShapeError(
            message(
                f"{who}: the window is larger than the image",
                f"the image has (H, W) = {x.shape[-2:]}, the window {tuple(size)}",
            )
        )
    return free


class Resize:
    """Resize float images to (H, W) pixels by Pillow's antialiased bilinear filter."""

    def __init__(self, size: int | tuple[int, int]):
        self.size = pair("Resize: size", size, 1)

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        from PIL import Image

        _floats("Resize", x)
        if x.ndim != 3:
            raise ShapeError(f"Resize: needs an image (C, H, W), received shape {x.shape}")
        channels = [
            Image.fromarray(c.astype(np.float32)).resize(
                (self.size[1], self.size[0]), Image.Resampling.BILINEAR
            )
            for c in x
        ]
        return np.stack([np.asarray(c) for c in channels]).astype(x.dtype)


class GaussianNoise:
    """Add independent Gaussian noise to a float image."""

    def __init__(self, std: float):
        if not std >= 0:
            raise ArgumentError(f"GaussianNoise: std must be at least 0, received {std}")
        self.std = std

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        _floats("GaussianNoise", x)
        return x + (self.std * rng.standard_normal(x.shape)).astype(x.dtype)


class MaskNoise:
    """Set each pixel to 0 with probability p (Vincent et al. 2008, section 3)."""

    def __init__(self, p: float):
        self.p = _probability("MaskNoise", p)

    def __call__(self, x: np.ndarray, rng: Rng) -> np.ndarray:
        return x * (rng.random(x.shape) >= self.p).astype(x.dtype)


def _probability(who: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ArgumentError(f"{who}: p is a probability, received {p}")
    return p


def _floats(who: str, x: np.ndarray) -> None:
    """Refuse integers, which would cut off the fractions of the result."""
    if x.dtype.kind != "f":
        raise DtypeError(
            message(f"{who}: needs floats, received {x.dtype}", hint="put ToFloat() before it.")
        )
