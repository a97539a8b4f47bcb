"""The three corners of convolution's form, one window tap at a time.

    T(x, w, y) = sum  x[n, c, h, w] * w[o, c, k, l] * y[n, o, i, j]
                 where h = i * stride + k * dilation - padding   (and so w, j, l)

    corner y   y[n, o, i, j] = sum over c, k, l   of x * w     a convolution
    corner x   x[n, c, h, w] = sum over o, k, l   of w * y     a transposed convolution
    corner w   w[o, c, k, l] = sum over n, i, j   of x * y     the weights' gradient

For one tap (k, l), the pixels under it are a slice of the padded image, and
what remains of each corner is a product of matrices. With groups, channel c
meets only the outputs o of its own group.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.compute.windows import Windows


def under_tap(image: Array, windows: Windows, k: int, l: int) -> Array:
    """View the pixels (..., I, J) that tap (k, l) of each window lies on.

    ``image`` is the padded image, ``windows.reach`` pixels large.
    """
    (i, j), (step_h, step_w) = windows.output, windows.stride
    top, left = k * windows.dilation[0], l * windows.dilation[1]
    return image[
        ...,
        top : top + (i - 1) * step_h + 1 : step_h,
        left : left + (j - 1) * step_w + 1 : step_w,
    ]


def padded(x: Array, windows: Windows, fill: float = 0) -> Array:
    """Frame the image (..., H, W) so that every tap lies on it."""
    (h, w), (top, left) = windows.image, windows.padding
    frame = xp_of(x).full((*x.shape[:-2], *windows.reach), fill, x.dtype)
    frame[..., top : top + h, left : left + w] = x
    return frame


def conv2d_y(x: Array, w: Array, windows: Windows, groups: int = 1) -> Array:
    """Convolve, (N, C, H, W) * (O, C / groups, K, L) -> (N, O, I, J)."""
    n, o = x.shape[0], w.shape[0]
    i, j = windows.output
    image = padded(x, windows)
    weight = w.reshape(groups, o // groups, *w.shape[1:])
    y = xp_of(x).zeros((n, groups, o // groups, i * j), x.dtype)
    for k, l in _taps(windows):
        pixels = under_tap(image, windows, k, l).reshape(n, groups, x.shape[1] // groups, i * j)
        y += weight[..., k, l] @ pixels
    return y.reshape(n, o, i, j)


def conv2d_x(w: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Transpose that, (O, C / groups, K, L) * (N, O, I, J) -> (N, C, H, W)."""
    n, o, i, j = y.shape
    c = w.shape[1] * groups
    (h, width), (top, left) = windows.image, windows.padding
    image = xp_of(y).zeros((n, c, *windows.reach), y.dtype)
    weight = w.reshape(groups, o // groups, *w.shape[1:])
    outputs = y.reshape(n, groups, o // groups, i * j)
    for k, l in _taps(windows):
        pixels = weight[..., k, l].swapaxes(-1, -2) @ outputs
        under_tap(image, windows, k, l)[...] += pixels.reshape(n, c, i, j)
    return image[:, :, top : top + h, left : left + width].copy()


def conv2d_w(x: Array, y: Array, windows: Windows, groups: int = 1) -> Array:
    """Sum the weights' gradient, (N, C, H, W) * (N, O, I, J) -> (O, C / groups, K, L)."""
    (n, c), (_, o, i, j) = x.shape[:2], y.shape
    image = padded(x, windows)
    outputs = y.reshape(n, groups, o // groups, i * j)
    w = xp_of(x).empty((groups, o // groups, c // groups, *windows.kernel), x.dtype)
    for k, l in _taps(windows):
        pixels = under_tap(image, windows, k, l).reshape(n, groups, c // groups, i * j)
        w[..., k, l] = (outputs @ pixels.swapaxes(-1, -2)).sum(0)
    return w.reshape(o, c // groups, *windows.kernel)


def _taps(windows: Windows) -> list[tuple[int, int]]:
    return [(k, l) for k in range(windows.kernel[0]) for l in range(windows.kernel[1])]
