"""Windows laid out as columns ("im2col"), and columns added up to an image: adjoints."""

from __future__ import annotations

from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.compute.windows import Windows, pair, windows_over
from minidl.errors import ShapeError, message
from minidl.functional.shape import reshape
from minidl.kinds import Linear
from minidl.tensor import Tensor, as_tensor

Ints = int | tuple[int, int]


class Unfold(Linear):
    """Read windows of images, (N, C, H, W) -> (N, C, K, L, I, J); the adjoint adds them up."""

    adjoint_name = "Fold"

    def __init__(self, windows: Windows):
        self.windows = windows

    def _tap(self, k: int, l: int) -> tuple[Any, ...]:
        """Return the pixels of the padded image that the windows see through one tap."""
        w, taps = self.windows, (k, l)
        starts = [taps[a] * w.dilation[a] for a in (0, 1)]
        ends = [starts[a] + (w.output[a] - 1) * w.stride[a] + 1 for a in (0, 1)]
        return (..., *[slice(starts[a], ends[a], w.stride[a]) for a in (0, 1)])

    @property
    def _inside(self) -> tuple[Any, ...]:
        """The place of the image in the padded one."""
        w = self.windows
        return (..., *[slice(w.padding[a], w.padding[a] + w.image[a]) for a in (0, 1)])

    def apply(self, x: Array) -> Array:
        xp, w = xp_of(x), self.windows
        padded = xp.zeros((*x.shape[:2], *w.reach), x.dtype)
        padded[self._inside] = x
        y = xp.empty((*x.shape[:2], *w.kernel, *w.output), x.dtype)
        for k in range(w.kernel[0]):
            for l in range(w.kernel[1]):
                y[:, :, k, l] = padded[self._tap(k, l)]
        return y

    def adjoint(self, y: Array) -> Array:
        w = self.windows
        padded = xp_of(y).zeros((*y.shape[:2], *w.reach), y.dtype)
        for k in range(w.kernel[0]):
            for l in range(w.kernel[1]):
                padded[self._tap(k, l)] += y[:, :, k, l]
        return padded[self._inside]


def unfold(
    x: Any, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> Tensor:
    """Lay out the windows of an image as columns, "im2col".

    (N, C, H, W) -> (N, C K L, I J)

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or (int, int)
        Size of a window, (K, L), in taps.
    dilation, padding, stride : int or (int, int)
        Those of ``conv2d``, which is ``weight.reshape(O, -1) @ unfold(x, ...)``.

    Raises
    ------
    ShapeError
        If a window exceeds the padded image.
    """
    x = as_tensor(x)
    if x.ndim == 3:
        return unfold(x[None], kernel_size, dilation, padding, stride)[0]
    if x.ndim != 4:
        raise ShapeError(f"unfold: x needs the axes (N, C, H, W), received shape {x.shape}")
    kernel = pair("unfold: kernel_size", kernel_size, 1)
    windows = windows_over("unfold", x.shape[2:], kernel, stride, padding, dilation)
    y = Unfold(windows)(x)
    n, c, k, l, i, j = y.shape
    return reshape(y, (n, c * k * l, i * j))


def fold(
    x: Any,
    output_size: Ints,
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> Tensor:
    """Add up columns to an image, each where ``unfold`` took it from: its adjoint.

    (N, C K L, I J) -> (N, C, H, W), (H, W) = ``output_size``

    Raises
    ------
    ShapeError
        If an image of this size has not so many windows, or not of this size.
    """
    x = as_tensor(x)
    if x.ndim == 2:
        return fold(x[None], output_size, kernel_size, dilation, padding, stride)[0]
    image = pair("fold: output_size", output_size, 1)
    kernel = pair("fold: kernel_size", kernel_size, 1)
    windows = windows_over("fold", image, kernel, stride, padding, dilation)
    (k, l), (i, j) = kernel, windows.output
    if x.ndim != 3 or x.shape[1] % (k * l) or x.shape[2] != i * j:
        raise ShapeError(
            message(
                "fold: x must have the axes (N, C K L, I J)",
                f"received shape {x.shape}, with (K, L) = {tuple(kernel)}; an image of (H, W) = "
                f"{tuple(image)} has (I, J) = {(i, j)} windows",
            )
        )
    columns = reshape(x, (x.shape[0], x.shape[1] // (k * l), k, l, i, j))
    return Unfold(windows).transposed()(columns)
