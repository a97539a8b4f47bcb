"""Layers of rows, (N, C, L): convolution, pooling and norms of sequences."""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.compute.windows import pair
from minidl.errors import ArgumentError, ShapeError
from minidl.nn import init
from minidl.nn.conv import check_settings
from minidl.nn.module import Module
from minidl.nn.norm import InstanceNorm2d
from minidl.nn.parameter import Parameter, unfilled
from minidl.tensor import Tensor, as_tensor

Int = int | tuple[int]


def _one(name: str, value: Int, minimum: int) -> int:
    """Read a setting given as one integer, or as a tuple of one."""
    given = value if isinstance(value, tuple | list) else (value,)
    if len(given) != 1:
        raise ArgumentError(f"{name} must be one integer, received {value!r}")
    return pair(name, given[0], minimum)[0]


class _Convolution1d(Module):
    """The settings and parameters that a convolution of rows and its transpose share."""

    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Int,
        stride: Int,
        padding: Int | str,
        dilation: Int,
        groups: int,
        padding_mode: str = "zeros",
    ):
        super().__init__()
        who = type(self).__name__
        check_settings(who, in_channels, out_channels, groups, padding, padding_mode)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = _one(f"{who}: kernel_size", kernel_size, 1)
        self.stride = _one(f"{who}: stride", stride, 1)
        self.dilation = _one(f"{who}: dilation", dilation, 1)
        self.padding = padding if isinstance(padding, str) else _one(f"{who}: padding", padding, 0)

    def _make_parameters(self, channels: tuple[int, int], bias: bool, dtype: Any) -> None:
        self.weight = unfilled(*channels, self.kernel_size, dtype=dtype)
        self.register_parameter("bias", unfilled(self.out_channels, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.fan_in_uniform_(self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding!r}, dilation={self.dilation}, "
            f"groups={self.groups}" + ", bias=False" * (self.bias is None)
        )


class Conv1d(_Convolution1d):
    """One-dimensional convolution, with trained windows.

    (N, C, L) -> (N, O, J), C = ``in_channels``, O = ``out_channels``

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Length of the window, K, in taps.
    stride, dilation : int
        Step between windows, and between the taps of one.
    padding : int, "valid" or "same"
        Elements added at both ends.
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
    weight : Parameter, shape (O, C / groups, K)
    bias : Parameter, shape (O,), or None
        Both start uniform on +-1 / sqrt(C / groups K).

    Raises
    ------
    ArgumentError
        If a setting is not among these.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Int,
        stride: Int = 1,
        padding: Int | str = 0,
        dilation: Int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        )
        if self.padding == "same" and self.stride != 1:
            raise ArgumentError(f'Conv1d: padding="same" needs stride 1, received {self.stride}')
        self.padding_mode = padding_mode
        self._make_parameters((out_channels, in_channels // groups), bias, dtype)

    def forward(self, x: Any) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros" and padding != "valid":
            reach = self.dilation * (self.kernel_size - 1)  # the odd one goes to the end
            ends = (reach // 2, reach - reach // 2) if padding == "same" else (padding, padding)
            x, padding = F.pad(x, ends, self.padding_mode), 0
        return F.conv1d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class ConvTranspose1d(_Convolution1d):
    """Transposed convolution of rows: each element paints a trained window into the output.

    (N, C, L) -> (N, O, J), C = ``in_channels``, O = ``out_channels``
    with J = (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, groups, bias, dilation, dtype
        The same as of Conv1d.
    padding : int
        Elements cut from both ends of the output.
    output_padding : int
        Elements added at its end.

    Attributes
    ----------
    weight : Parameter, shape (C, O / groups, K)
    bias : Parameter, shape (O,), or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Int,
        stride: Int = 1,
        padding: Int = 0,
        output_padding: Int = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Int = 1,
        dtype: Any = None,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        )
        self.output_padding = _one("ConvTranspose1d: output_padding", output_padding, 0)
        self._make_parameters((in_channels, out_channels // groups), bias, dtype)

    def forward(self, x: Any) -> Tensor:
        padding: Any = self.padding
        return F.conv_transpose1d(
            x, self.weight, self.bias, self.stride, padding, self.output_padding, self.groups,
            self.dilation,
        )


class MaxPool1d(Module):
    """The largest element of each window: (N, C, L) -> (N, C, J). Settings: see MaxPool2d."""

    def __init__(
        self,
        kernel_size: Int,
        stride: Int | None = None,
        padding: Int = 0,
        dilation: Int = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Any) -> Any:
        return F.max_pool1d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Module):
    """The mean of each window: (N, C, L) -> (N, C, J). Settings: see AvgPool2d."""

    def __init__(
        self,
        kernel_size: Int,
        stride: Int | None = None,
        padding: Int = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, x: Any) -> Tensor:
        return F.avg_pool1d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool1d(Module):
    """The means of as many, nearly equal pieces as ``output_size`` says: (N, C, L) -> (N, C, J)."""

    def __init__(self, output_size: Int):
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Tensor:
        return F.adaptive_avg_pool1d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class InstanceNorm1d(InstanceNorm2d):
    """Normalise each channel of each row on its own: (N, C, L) -> the same, as InstanceNorm2d."""

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        if x.ndim not in (2, 3):
            raise ShapeError(
                f"InstanceNorm1d: x needs the axes (N, C, L) or (C, L), received shape {x.shape}"
            )
        return F.squeeze(super().forward(F.unsqueeze(x, -2)), -2)
