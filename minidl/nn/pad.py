"""Padding as layers: pixels around an image, (N, C, H, W) or (C, H, W)."""

from __future__ import annotations

from typing import Any, ClassVar

import minidl.functional as F
from minidl.errors import ArgumentError, ShapeError
from minidl.nn.module import Module
from minidl.tensor import Tensor, as_tensor


class _Pad2d(Module):
    """Padding of images by one of the modes of ``minidl.functional.pad``."""

    mode: ClassVar[str] = "constant"
    value = 0.0

    def __init__(self, padding: int | tuple[int, int, int, int]):
        super().__init__()
        given = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(given) != 4:
            raise ArgumentError(
                f"{type(self).__name__}: padding is one width, or those of (left, right, top, "
                f"bottom); received {padding}"
            )
        self.padding = given

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in (3, 4):
            raise ShapeError(
                f"{type(self).__name__}: x needs the axes (N, C, H, W) or (C, H, W), received "
                f"shape {x.shape}"
            )
        return F.pad(x, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(_Pad2d):
    """Zeros around an image.

    Parameters
    ----------
    padding : int or (int, int, int, int)
        The width on every side, or those (left, right, top, bottom); negative ones crop.
    """


class ConstantPad2d(_Pad2d):
    """One number around an image; ``padding`` is ZeroPad2d's."""

    def __init__(self, padding: int | tuple[int, int, int, int], value: float):
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ReflectionPad2d(_Pad2d):
    """An image mirrored at its edge pixels; ``padding`` is ZeroPad2d's."""

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """An image whose edge pixels go on; ``padding`` is ZeroPad2d's."""

    mode = "replicate"


class CircularPad2d(_Pad2d):
    """An image that begins again behind each edge; ``padding`` is ZeroPad2d's."""

    mode = "circular"
