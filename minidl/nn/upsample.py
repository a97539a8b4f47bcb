"""Enlarging images without parameters."""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor


class Upsample(Module):
    """Resize images: (N, C, H, W) -> (N, C, I, J).

    Parameters
    ----------
    size : int or (int, int), optional
        (I, J), in pixels; or else
    scale_factor : float or (float, float), optional
        I / H and J / W.
    mode : {"nearest", "nearest-exact", "bilinear", "bicubic", "area"}
    align_corners : bool, optional
        Whether the centres of the corner pixels (True) or the outer edges of
        the images (False, and None) coincide.
    recompute_scale_factor : bool, optional
        Whether to use the ratio of the sizes in place of ``scale_factor``.
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ):
        super().__init__()
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor: Any = (
            tuple(float(s) for s in scale_factor)
            if isinstance(scale_factor, tuple | list)
            else None if scale_factor is None else float(scale_factor)
        )
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, x: Any) -> Tensor:
        return F.interpolate(
            x, self.size, self.scale_factor, self.mode, self.align_corners,
            self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)}, mode={self.mode!r}"


class PixelShuffle(Module):
    """Move channels to pixels: (N, C r r, H, W) -> (N, C, H r, W r), r = ``upscale_factor``.

    Source: Shi et al. 2016, "Real-time single image and video super-resolution
    using an efficient sub-pixel convolutional neural network", equation 4.
    """

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, x: Any) -> Tensor:
        return F.pixel_shuffle(x, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Move pixels to channels, undoing PixelShuffle: (N, C, H r, W r) -> (N, C r r, H, W)."""

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, x: Any) -> Tensor:
        return F.pixel_unshuffle(x, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
