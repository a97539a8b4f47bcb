"""Pooling and unpooling as layers."""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor

Ints = int | tuple[int, int]


class MaxPool2d(Module):
    """The largest pixel of each window: (N, C, H, W) -> (N, C, I, J).

    Parameters
    ----------
    kernel_size : int or (int, int)
        Size of the window, in pixels.
    stride : int or (int, int), optional
        Step between windows; default: ``kernel_size``.
    padding, dilation : int or (int, int)
    return_indices : bool
        Also return where each maximum was, h W + w, for MaxUnpool2d.
    ceil_mode : bool
        Keep a last, incomplete window.
    """

    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        dilation: Ints = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxUnpool2d(Module):
    """Put each value back to where its maximum was: (N, C, I, J) -> (N, C, H, W).

    Parameters
    ----------
    kernel_size, stride, padding
        The settings of the MaxPool2d that is undone.
    """

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(
        self, x: Any, indices: Any, output_size: tuple[int, ...] | None = None
    ) -> Tensor:
        """Put the values back to where the maxima were, among zeros.

        Parameters
        ----------
        x, indices : Tensor, shape (N, C, I, J)
            The results of a MaxPool2d with ``return_indices=True``.
        output_size : tuple, optional
            (H, W), or the whole shape, where the smallest that fits is not meant.
        """
        return F.max_unpool2d(
            x, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class FixedUnpool2d(Module):
    """Put each value into the top left pixel of a cell: (N, C, H, W) -> (N, C, H scale, W scale).

    Source: Dosovitskiy, Springenberg & Brox 2015, "Learning to generate chairs
    with convolutional neural networks", section 3.1.
    """

    def __init__(self, scale: Ints = 2):
        super().__init__()
        self.scale = scale

    def forward(self, x: Any) -> Tensor:
        return F.fixed_unpool2d(x, self.scale)

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class AvgPool2d(Module):
    """The mean pixel of each window: (N, C, H, W) -> (N, C, I, J).

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode
        The same as of MaxPool2d; the padding is zeros.
    count_include_pad : bool
        Whether those zeros count as pixels of the mean.
    divisor_override : int, optional
        Divide the sum of a window by this number instead.
    """

    def __init__(
        self,
        kernel_size: Ints,
        stride: Ints | None = None,
        padding: Ints = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Any) -> Tensor:
        return F.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The mean of each cell of a grid with as many, nearly equal cells as the output has pixels.

    (N, C, H, W) -> (N, C, I, J), (I, J) = ``output_size``; None keeps H or W.
    """

    def __init__(self, output_size: int | tuple[int | None, int | None] | None):
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Tensor:
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
