"""Pooling and unpooling. Where the maximum lies has no derivative; reading it there is linear.

    max_pool2d     the maxima and their places; its gradient puts there
    max_unpool2d   put, the adjoint of pick
    avg_pool2d     resampling with equal weights (``minidl.compute.taps.means``)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.autograd import Op
from minidl.compute import reference, taps
from minidl.compute.arrays import Array, xp_of
from minidl.compute.counts import whole
from minidl.compute.dispatch import run
from minidl.compute.windows import Windows, pair, windows_over
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.index import Slice, check_places
from minidl.functional.pointwise import where
from minidl.functional.resample import resample
from minidl.functional.shape import reshape, unsqueeze
from minidl.kinds import Linear, Transposed
from minidl.tensor import Tensor, as_tensor

Ints = int | tuple[int, int]


class MaxPool2d(Op):
    """The largest pixel of each window, and its place, which has no derivative."""

    fresh = True

    def __init__(self, windows: Windows):
        self.windows = windows

    def forward(self, x: Array) -> Array:
        y, self.index = run(reference.max_pool2d, x, windows=self.windows)
        self.held = (self.index,)
        return y

    def vjp_x(self, grad: Tensor) -> Tensor:
        return PickWindows(self.index, self.windows.image).transposed()(grad)


class PickWindows(Linear):
    """Read one pixel per window; the adjoint puts values there, adding where two meet."""

    name, adjoint_name = "MaxPool2d", "MaxUnpool2d"

    def __init__(self, index: Array, size: tuple[int, int]):
        self.index, self.size, self.held = index, size, (index,)

    def apply(self, x: Array) -> Array:
        return run(reference.pick_windows, x, self.index)

    def adjoint(self, y: Array) -> Array:
        return run(reference.put_windows, y, self.index, size=self.size)


def max_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Take the largest pixel of each window.

    (N, C, H, W) -> (N, C, I, J)

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        Size of the window, (K, L), in pixels.
    stride : int or (int, int), optional
        Step between windows; default: ``kernel_size``.
    padding : int or (int, int)
        Pixels around the image that never win; at most half a window.
    dilation : int or (int, int)
        Step between the taps of a window.
    ceil_mode : bool
        Keep a last, incomplete window.
    return_indices : bool
        Also return where each maximum was: h * W + w, int64, (N, C, I, J).

    Raises
    ------
    ArgumentError
        If the padding exceeds half a window.
    """
    x = as_tensor(x)
    if x.ndim == 3:
        y, index = max_pool2d(
            unsqueeze(x, 0), kernel_size, stride, padding, dilation, ceil_mode, True
        )
        y, index = reshape(y, y.shape[1:]), Tensor(index.data[0])
        return (y, index) if return_indices else y
    kernel = _window("max_pool2d", x, kernel_size, padding)
    windows = windows_over(
        "max_pool2d", x.shape[2:], kernel, kernel if stride is None else stride, padding,
        dilation, ceil_mode
    )
    pool = MaxPool2d(windows)
    y = pool(x)
    return (y, Tensor(pool.index)) if return_indices else y


def max_unpool2d(
    x: Any,
    indices: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: tuple[int, ...] | None = None,
) -> Tensor:
    """Put each value back to where its maximum was; zeros elsewhere.

    (N, C, I, J), (N, C, I, J) -> (N, C, H, W)

    Parameters
    ----------
    x : Tensor, shape (N, C, I, J)
    indices : Tensor of int64, shape (N, C, I, J)
        As ``max_pool2d(..., return_indices=True)`` gives them.
    kernel_size, stride, padding
        Those of the pooling that is undone.
    output_size : tuple, optional
        (H, W), or the whole shape. Several sizes pool to the same number of
        windows; default: the smallest, (I - 1) stride - 2 padding + kernel.

    Raises
    ------
    ShapeError
        If x and indices differ in shape, or ``output_size`` cannot be.
    PlaceError
        If an index lies outside the output; indices on a GPU are waited for, to see that.

    Notes
    -----
    Linear. Of values that are put to the same place the last one stays, in the order in
    which one reads the windows; its place alone sends a gradient back. (Windows that overlap
    may share a maximum: its value is put once, not added up. The adjoint of picking, which
    adds, is the gradient of ``max_pool2d``.) Source: Zeiler & Fergus 2014, "Visualizing and
    understanding convolutional networks", section 2.1.
    """
    x, indices = as_tensor(x), as_tensor(indices)
    if x.ndim == 3:
        y = max_unpool2d(
            unsqueeze(x, 0), Tensor(indices.data[None]), kernel_size, stride, padding, output_size
        )
        return reshape(y, y.shape[1:])
    kernel = _window("max_unpool2d", x, kernel_size, padding)
    if indices.shape != x.shape:
        raise ShapeError(
            message(
                "max_unpool2d: x and indices must have the same shape",
                f"x has shape {x.shape}, indices {indices.shape}",
            )
        )
    size = _unpooled(x, kernel, kernel if stride is None else stride, padding, output_size)
    check_places("max_unpool2d", indices.data, size[0] * size[1],
                 told=f"the output has (H, W) = {size}",
                 hint="pass the size of the image that was pooled as output_size.")
    places = xp_of(x.data).asarray(indices.data)
    last = _is_last(places, size[0] * size[1])
    alone = x if last is None else where(Tensor(last), x, 0.0)
    return PickWindows(places, size).transposed()(alone)


def _is_last(places: Array, pixels: int) -> Array | None:
    """Tell of each window, (N, C, I, J), whether no later one has the same place.

    None where all places are found to differ, as they do under windows that do not overlap.
    """
    xp = xp_of(places)
    n, c, i, j = places.shape
    flat = places.reshape(n * c, i * j)
    number = xp.arange(i * j)
    planes = xp.arange(n * c)[:, None]
    if xp is np:
        taken = np.zeros(n * c * pixels, bool)
        taken[(flat + planes * pixels).reshape(-1)] = True
        if np.count_nonzero(taken) == flat.size:
            return None
    latest = xp.full((n * c, pixels), -1)
    if xp is np:
        latest[planes, flat] = number  # NumPy lets the last one stay, CuPy any
    else:
        xp.maximum.at(latest, (planes, flat), number)
    return (latest[planes, flat] == number).reshape(places.shape)


def _window(who: str, x: Tensor, kernel_size: Ints, padding: Ints) -> tuple[int, int]:
    if x.ndim != 4:
        raise ShapeError(
            message(
                f"{who}: x must have the axes (N, C, H, W) or (C, H, W)",
                f"received shape {x.shape}",
            )
        )
    kernel = pair(f"{who}: kernel_size", kernel_size, 1)
    frame = pair(f"{who}: padding", padding, 0)
    if any(2 * frame[a] > kernel[a] for a in (0, 1)):
        raise ArgumentError(
            message(
                f"{who}: padding must be at most half of kernel_size",
                f"received padding {tuple(frame)}, kernel_size {tuple(kernel)}",
            )
        )
    return kernel


def _unpooled(
    x: Tensor, kernel: tuple[int, int], stride: Ints, padding: Ints, wanted: tuple[int, ...] | None
) -> tuple[int, int]:
    step = pair("max_unpool2d: stride", stride, 1)
    frame = pair("max_unpool2d: padding", padding, 0)
    h, w = ((x.shape[2 + a] - 1) * step[a] - 2 * frame[a] + kernel[a] for a in (0, 1))
    if wanted is None:
        return h, w
    size = tuple(wanted)[-2:]
    if len(size) != 2 or any(
        abs(s - d) >= t for s, d, t in zip(size, (h, w), step, strict=True)
    ):
        raise ShapeError(
            message(
                "max_unpool2d: no image of this output_size pools to x",
                f"x has (I, J) = {x.shape[2:]}, which come from (H, W) near {(h, w)}",
                f"received output_size = {tuple(wanted)}",
                hint=f"H and W may differ from {(h, w)} by less than the stride.",
            )
        )
    return size


def fixed_unpool2d(x: Any, scale: Ints = 2) -> Tensor:
    """Put each value to the top left pixel of its cell; zeros elsewhere.

    (N, C, H, W) -> (N, C, H scale, W scale)

    Source: Dosovitskiy, Springenberg & Brox 2015, "Learning to generate chairs
    with convolutional neural networks", section 3.1.
    """
    x = as_tensor(x)
    down, across = pair("fixed_unpool2d: scale", scale, 1)
    if x.ndim < 2:
        raise ShapeError(f"fixed_unpool2d: x needs the axes (..., H, W), received shape {x.shape}")
    shape = (*x.shape[:-2], x.shape[-2] * down, x.shape[-1] * across)
    corners = (Ellipsis, slice(None, None, down), slice(None, None, across))
    return Transposed(Slice(shape, corners))(x)


def avg_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Take the mean pixel of each window.

    (N, C, H, W) -> (N, C, I, J)

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size, stride, padding, ceil_mode
        As in ``max_pool2d``; the padding is zeros.
    count_include_pad : bool
        Whether those zeros count as pixels of the mean.
    divisor_override : int, optional
        Divide the sum of a window by this number instead.

    Notes
    -----
    Linear.
    """
    x = as_tensor(x)
    if x.ndim == 3:
        y = avg_pool2d(
            unsqueeze(x, 0), kernel_size, stride, padding, ceil_mode, count_include_pad,
            divisor_override
        )
        return reshape(y, y.shape[1:])
    if divisor_override is not None and not whole("avg_pool2d: divisor_override",
                                                  divisor_override, None):
        raise ArgumentError("avg_pool2d: divisor_override must not be 0")
    kernel = _window("avg_pool2d", x, kernel_size, padding)
    windows = windows_over(
        "avg_pool2d", x.shape[2:], kernel, kernel if stride is None else stride, padding, 1,
        ceil_mode
    )
    down, across = (
        taps.means(
            windows.image[a], kernel[a], windows.stride[a], windows.padding[a], ceil_mode,
            count_include_pad, divisor_override is not None
        )
        for a in (0, 1)
    )
    y = resample(x, down, across)
    return y if divisor_override is None else y * (1 / divisor_override)


def adaptive_avg_pool2d(x: Any, output_size: int | tuple[int | None, int | None] | None) -> Tensor:
    """Take means over a grid of as many, nearly equal cells as the output has pixels.

    (N, C, H, W) -> (N, C, I, J), (I, J) = ``output_size``; None keeps H or W.
    """
    x = as_tensor(x)
    if x.ndim not in (3, 4):
        raise ShapeError(
            f"adaptive_avg_pool2d: x needs the axes (N, C, H, W), received shape {x.shape}"
        )
    wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
    size = tuple(x.shape[a - 2] if s is None else s for a, s in enumerate(wanted))
    i, j = pair("adaptive_avg_pool2d: output_size", size, 1)  # type: ignore[arg-type]
    h, w = x.shape[-2:]
    if not h or not w:
        raise ShapeError(f"adaptive_avg_pool2d: the image is empty, x has shape {x.shape}")
    return resample(x, taps.adaptive_means(h, i), taps.adaptive_means(w, j))
