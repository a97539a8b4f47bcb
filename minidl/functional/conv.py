"""Convolution and its transpose: two corners of one form.

conv2d is corner y of T(x, w, y) = sum x * w * y, conv_transpose2d is corner x
with the same weight array, and the third corner is the weights' gradient. So
each is the others' derivative, to every order, and there is one geometry
(``minidl.compute.windows``) and one sum (``minidl.compute.reference.conv``).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

from minidl.autograd import Op
from minidl.compute import reference
from minidl.compute.arrays import Array, xp_of
from minidl.compute.dispatch import run
from minidl.compute.passes import pass_over
from minidl.compute.windows import Windows, transposed_windows, windows_over
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.shape import reshape, unsqueeze
from minidl.kinds import Bilinear, Corner, Linear
from minidl.matching import match_floats
from minidl.tensor import Tensor, as_tensor

Ints = int | tuple[int, int]


class Conv2d(Bilinear):
    """T(x, w, y) = sum x[n, c, h, w] w[o, c, k, l] y[n, o, i, j].

    h = i stride + k dilation - padding, and likewise w from j and l.
    """

    names: ClassVar = {"y": "Conv2d", "x": "ConvTranspose2d", "w": "Conv2dWeight"}
    fresh = True

    def __init__(self, windows: Windows, groups: int):
        self.windows, self.groups = windows, groups

    def corner_x(self, w: Array, y: Array) -> Array:
        return run(reference.conv2d_x, w, y, windows=self.windows, groups=self.groups)

    def corner_w(self, x: Array, y: Array) -> Array:
        return run(reference.conv2d_w, x, y, windows=self.windows, groups=self.groups)

    def corner_y(self, x: Array, w: Array) -> Array:
        return run(reference.conv2d_y, x, w, windows=self.windows, groups=self.groups)


def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional convolution (as everywhere in deep learning: a cross-correlation).

    (N, C, H, W) * (O, C / groups, K, L) -> (N, O, I, J)

    y[n, o, i, j] = bias[o] + sum over c, k, l of
    x[n, c, i stride + k dilation - padding, ...] * weight[o, c, k, l]

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (C, H, W)
    weight : Tensor, shape (O, C / groups, K, L)
    bias : Tensor, shape (O,), optional
    stride, dilation : int or (int, int)
        Step between windows, and between the taps of one, in pixels.
    padding : int, (int, int), "valid" or "same"
        Zeros around the image, in pixels.
    groups : int
        The channels are split into so many groups, and each output sees one.

    Raises
    ------
    ShapeError
        If x and weight disagree on C, or a window exceeds the padded image.

    Notes
    -----
    Bilinear. N O I J C K L / groups multiplications; either gradient costs as many.
    """
    x, weight = match_floats("conv2d", x, weight)
    if x.data.ndim == 3:
        y = conv2d(unsqueeze(x, 0), weight, bias, stride, padding, dilation, groups)
        return reshape(y, y.shape[1:])
    _check_axes("conv2d", x, weight)
    (_, c, *image), (o, each, *kernel) = x.data.shape, weight.data.shape
    _check_groups("conv2d", groups, O=o, C=c)
    if each * groups != c:
        raise ShapeError(
            message(
                "conv2d: x and weight disagree on the number of channels C",
                f"x has shape {x.shape}, read as (N, C, H, W), so C = {x.shape[1]}",
                f"weight has shape {weight.shape}, read as (O, C / groups, K, L), "
                f"so C = {weight.shape[1] * groups} with groups = {groups}",
                hint="weight.shape[1] must equal x.shape[1] / groups.",
            )
        )
    corner = _made(_convolution, *image, *kernel, stride, padding, dilation, groups)
    return _biased("conv2d", corner(x, weight), bias)


def _made(make: Any, *settings: Any) -> Corner:
    """Make a corner, or take the one that was made for these settings before."""
    try:
        return make(*settings)
    except TypeError:  # a setting given as a list, or one that is refused
        return make.__wrapped__(*settings)


@lru_cache(maxsize=1024, typed=True)  # asked at every step
def _convolution(
    h: int, w: int, k: int, l: int, stride: Ints, padding: Ints | str, dilation: Ints, groups: int
) -> Corner:
    """The op that convolves images (h, w) by windows (k, l)."""
    windows = windows_over("conv2d", (h, w), (k, l), stride, padding, dilation)
    return Conv2d(windows, groups).corner("y")


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Tensor:
    """Transposed convolution: each input pixel paints its window into the output.

    (N, C, H, W) * (C, O / groups, K, L) -> (N, O, I, J)
    with I = (H - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (C, H, W)
    weight : Tensor, shape (C, O / groups, K, L)
        The weight of the convolution that this one transposes.
    bias : Tensor, shape (O,), optional
    stride, dilation : int or (int, int)
        Step between painted windows, and between the taps of one, in pixels.
    padding : int or (int, int)
        Pixels cut from every side of the output.
    output_padding : int or (int, int)
        Rows and columns added below and to the right; smaller than the stride.
    groups : int

    Raises
    ------
    ShapeError
        If x and weight disagree on C, or nothing would be left of the output.

    Notes
    -----
    Bilinear: corner x of conv2d's form. Zeiler et al. 2010, "Deconvolutional
    networks", introduced it under a name that it does not deserve.
    """
    x, weight = match_floats("conv_transpose2d", x, weight)
    if x.ndim == 3:
        y = conv_transpose2d(
            unsqueeze(x, 0), weight, bias, stride, padding, output_padding, groups, dilation
        )
        return reshape(y, y.shape[1:])
    _check_axes("conv_transpose2d", x, weight)
    _check_groups("conv_transpose2d", groups, C=x.shape[1])
    if weight.shape[0] != x.shape[1]:
        raise ShapeError(
            message(
                "conv_transpose2d: x and weight disagree on the number of channels C",
                f"x has shape {x.shape}, read as (N, C, H, W), so C = {x.shape[1]}",
                f"weight has shape {weight.shape}, read as (C, O / groups, K, L), "
                f"so C = {weight.shape[0]}",
                hint="weight.shape[0] must equal x.shape[1].",
            )
        )
    sizes = (*x.data.shape[2:], *weight.data.shape[2:])
    corner = _made(_transposition, *sizes, stride, padding, output_padding, dilation, groups)
    return _biased("conv_transpose2d", corner(weight, x), bias)


@lru_cache(maxsize=1024, typed=True)
def _transposition(
    i: int, j: int, k: int, l: int, stride: Ints, padding: Ints, output_padding: Ints,
    dilation: Ints, groups: int,
) -> Corner:
    """The op that paints windows (k, l) at (i, j) places."""
    windows = transposed_windows(
        "conv_transpose2d", (i, j), (k, l), stride, padding, output_padding, dilation
    )
    return Conv2d(windows, groups).corner("x")


def _check_axes(who: str, x: Tensor, weight: Tensor) -> None:
    if x.data.ndim != 4 or weight.data.ndim != 4 or 0 in weight.data.shape[2:]:
        raise ShapeError(
            message(
                f"{who}: x must have the axes (N, C, H, W) or (C, H, W), and weight four axes",
                f"x has shape {x.shape}, weight has shape {weight.shape}",
            )
        )


def _check_groups(who: str, groups: int, **channels: int) -> None:
    for letter, number in channels.items():
        if groups < 1 or number % groups:
            raise ArgumentError(
                message(
                    f"{who}: groups must divide the number of channels {letter}",
                    f"received groups = {groups}, {letter} = {number}",
                )
            )


def _biased(who: str, y: Tensor, bias: Any) -> Tensor:
    if bias is None:
        return y
    bias = as_tensor(bias)
    if bias.data.shape != y.data.shape[1:2]:
        raise ShapeError(
            message(
                f"{who}: bias needs one number per output channel O",
                f"the output has shape {y.shape}, so O = {y.shape[1]}; "
                f"bias has shape {bias.shape}",
            )
        )
    if bias.data.dtype != y.data.dtype:
        return y + reshape(bias, (*bias.shape, 1, 1))
    return AddBias()(y, bias)


# --- the bias: a number per channel, the same for all of its pixels ---


class AddBias(Op):
    """y[n, c] + bias[c], written over y: for a y that its maker alone has seen."""

    def forward(self, y: Array, bias: Array) -> Array:
        return pass_over(reference.add_bias, y, bias, in_place=True)

    def vjp_y(self, grad: Tensor) -> Tensor:
        return grad

    def vjp_bias(self, grad: Tensor) -> Tensor:
        return ChannelSums(grad.shape)(grad)


class ChannelSums(Linear):
    """The sum of each channel over all pixels; the adjoint repeats it for all of them."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape

    def apply(self, y: Array) -> Array:
        return pass_over(reference.channel_sums, y)

    def adjoint(self, sums: Array) -> Array:
        return xp_of(sums).broadcast_to(sums[:, None, None], self.shape)
