"""Convolution and its transpose as layers."""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.compute.windows import pair
from minidl.errors import ArgumentError, ShapeError, message
from minidl.nn import init
from minidl.nn.module import Module
from minidl.nn.parameter import Parameter, unfilled
from minidl.tensor import Tensor, as_tensor

Ints = int | tuple[int, int]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""The ways to fill the padding, by PyTorch's names."""


def _both(name: str, value: Ints, minimum: int) -> tuple[int, int]:
    vertical, horizontal = pair(name, value, minimum)
    return vertical, horizontal


def check_settings(
    who: str, in_channels: int, out_channels: int, groups: int, padding: Any, padding_mode: str
) -> None:
    """Refuse settings that a convolution, of images or of rows, cannot have."""
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ArgumentError(
            message(
                f"{who}: groups must divide in_channels and out_channels",
                f"received groups = {groups}, in_channels = {in_channels}, "
                f"out_channels = {out_channels}",
            )
        )
    if padding_mode not in PADDING_MODES:
        raise ArgumentError(
            message(
                f"{who}: unknown padding_mode {padding_mode!r}",
                hint=f"choose one of {PADDING_MODES}.",
            )
        )
    if isinstance(padding, str) and padding not in ("valid", "same"):
        raise ArgumentError(
            message(
                f"{who}: unknown padding {padding!r}",
                hint='give integers, "valid" or "same".',
            )
        )


class _Convolution(Module):
    """The settings and parameters that a convolution and its transpose share."""

    padding: Any
    """The pixels added around the image, (vertical, horizontal), or "valid" or "same"."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints,
        padding: Ints | str,
        dilation: Ints,
        groups: int,
        padding_mode: str,
    ):
        super().__init__()
        who = type(self).__name__
        check_settings(who, in_channels, out_channels, groups, padding, padding_mode)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _both(f"{who}: kernel_size", kernel_size, 1)
        self.stride = _both(f"{who}: stride", stride, 1)
        self.dilation = _both(f"{who}: dilation", dilation, 1)
        self.padding = (
            padding if isinstance(padding, str) else _both(f"{who}: padding", padding, 0)
        )
        self.padding_mode = padding_mode
        self.output_padding = (0, 0)

    def _make_parameters(self, shape: tuple[int, ...], bias: bool, dtype: Any) -> None:
        self.weight = unfilled(*shape, dtype=dtype, taps_first=self.groups == 1)
        self.bias: Parameter | None
        self.register_parameter(
            "bias", unfilled(self.out_channels, dtype=dtype) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.fan_in_uniform_(self.weight, self.bias)

    def extra_repr(self) -> str:
        optional = [
            (self.padding != (0, 0), f"padding={self.padding}"),
            (self.dilation != (1, 1), f"dilation={self.dilation}"),
            (self.output_padding != (0, 0), f"output_padding={self.output_padding}"),
            (self.groups != 1, f"groups={self.groups}"),
            (self.bias is None, "bias=False"),
            (self.padding_mode != "zeros", f"padding_mode={self.padding_mode}"),
        ]
        return ", ".join(
            [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}",
             f"stride={self.stride}", *(text for shown, text in optional if shown)]
        )


class Conv2d(_Convolution):
    """Two-dimensional convolution, with trained windows.

    (N, C, H, W) -> (N, O, I, J), C = ``in_channels``, O = ``out_channels``

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
        Size of the window, (K, L), in taps.
    stride, dilation : int or (int, int)
        Step between windows, and between the taps of one, in pixels.
    padding : int, (int, int), "valid" or "same"
        Pixels added around the image.
    groups : int
        The channels are split into so many groups, and each output sees one.
    bias : bool
        Whether to add a trained constant.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        The way to fill the padding.
    dtype : optional
        That of the parameters; default float32.

    Attributes
    ----------
    weight : Parameter, shape (O, C / groups, K, L)
    bias : Parameter, shape (O,), or None
        Both start uniform on +-1 / sqrt(C / groups K L).

    Raises
    ------
    ArgumentError
        If a setting is not among these.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints | str = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        )
        if padding == "same" and self.stride != (1, 1):
            raise ArgumentError(f'Conv2d: padding="same" needs stride 1, received {self.stride}')
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._make_parameters(shape, bias, dtype)

    def forward(self, x: Any) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._widths(), self.padding_mode)
            padding = 0
        return F.conv2d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _widths(self) -> tuple[int, int, int, int]:
        """The padding's widths (left, right, top, bottom), in pixels."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":  # the odd pixel goes below and to the right
            down, across = (
                d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)
            )
            return across // 2, across - across // 2, down // 2, down - down // 2
        top, left = self.padding
        return left, left, top, top


class ConvTranspose2d(_Convolution):
    """Transposed convolution: each input pixel paints a trained window into the output.

    (N, C, H, W) -> (N, O, I, J), C = ``in_channels``, O = ``out_channels``
    with I = (H - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or (int, int)
        Size of the window, (K, L), in taps.
    stride, dilation : int or (int, int)
        Step between painted windows, and between the taps of one, in pixels.
    padding : int or (int, int)
        Pixels cut from every side of the output.
    output_padding : int or (int, int)
        Rows and columns added below and to the right.
    groups : int
        The channels are split into so many groups, and each output sees one.
    bias : bool
        Whether to add a trained constant.
    padding_mode : {"zeros"}
    dtype : optional
        That of the parameters; default float32.

    Attributes
    ----------
    weight : Parameter, shape (C, O / groups, K, L)
    bias : Parameter, shape (O,), or None
        Both start uniform on +-1 / sqrt(O / groups K L), as in PyTorch.

    Raises
    ------
    ArgumentError
        If a setting is not among these.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        )
        if isinstance(padding, str) or padding_mode != "zeros":
            raise ArgumentError(
                message(
                    "ConvTranspose2d: padding must be integers, and padding_mode zeros",
                    f"received padding={padding!r}, padding_mode={padding_mode!r}",
                )
            )
        self.output_padding = _both("ConvTranspose2d: output_padding", output_padding, 0)
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self._make_parameters(shape, bias, dtype)

    def forward(self, x: Any, output_size: tuple[int, ...] | None = None) -> Tensor:
        """Paint a window into the output for each input pixel.

        Parameters
        ----------
        x : Tensor, shape (N, C, H, W) or (C, H, W)
        output_size : tuple, optional
            (I, J), or a shape that ends with them, in place of ``output_padding``.

        Raises
        ------
        ShapeError
            If no image of this size has so many windows.
        """
        x = as_tensor(x)
        extra = self.output_padding if output_size is None else self._extra(x, output_size)
        return F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _extra(self, x: Tensor, output_size: tuple[int, ...]) -> tuple[int, int]:
        """The ``output_padding`` that leads to this size."""
        smallest = [
            (size - 1) * s - 2 * p + d * (k - 1) + 1
            for size, s, p, d, k in zip(
                x.shape[-2:], self.stride, self.padding, self.dilation, self.kernel_size,
                strict=True,
            )
        ]
        wanted = tuple(output_size)[-2:]
        extra = tuple(w - s for w, s in zip(wanted, smallest, strict=False))
        if len(extra) != 2 or any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            raise ShapeError(
                message(
                    "ConvTranspose2d: no image of this output_size has so many windows",
                    f"x has shape {x.shape}, which leads to (I, J) from {tuple(smallest)} "
                    f"to {tuple(m + s - 1 for m, s in zip(smallest, self.stride, strict=True))}",
                    f"received output_size = {tuple(output_size)}",
                )
            )
        return extra[0], extra[1]
