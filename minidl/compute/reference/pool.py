"""Max-pooling: the largest pixels and where they are, and moving values to and from there.

    index[n, c, i, j]   h * W + w of the largest pixel under window (i, j): its place
    pick                y[n, c, i, j] = x[n, c, index[n, c, i, j]]
    put                 x[n, c, p]    = sum of y[n, c, i, j] over the windows whose index is p

Finding the place has no derivative; picking and putting are linear, and each
is the other's adjoint. So max-pooling is *pick*, done on the way, and max-unpooling *put*.
"""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.compute.reference.conv import under_tap
from minidl.compute.windows import Windows


def max_pool2d(x: Array, windows: Windows) -> tuple[Array, Array]:
    """Find the largest pixel under each window and its place, (N, C, H, W) -> (N, C, I, J) twice.

    The first of equal pixels wins, a NaN wins over numbers, and the padding
    never wins. Places are int64; under nothing but padding 0 is at -1.
    """
    xp = xp_of(x)
    (h, w), (top, left) = windows.image, windows.padding
    place = xp.full(windows.reach, -1, xp.int64)  # -1: padding
    place[top : top + h, left : left + w] = xp.arange(h * w).reshape(h, w)
    image = xp.zeros((*x.shape[:2], *windows.reach), x.dtype)
    image[..., top : top + h, left : left + w] = x

    best = xp.zeros((*x.shape[:2], *windows.output), x.dtype)
    index = xp.full(best.shape, -1, xp.int64)
    for k in range(windows.kernel[0]):
        for l in range(windows.kernel[1]):
            pixels, here = under_tap(image, windows, k, l), under_tap(place, windows, k, l)
            larger = (pixels > best) | (xp.isnan(pixels) & ~xp.isnan(best)) | (index < 0)
            better = larger & (here >= 0)
            best = xp.where(better, pixels, best)
            index = xp.where(better, here, index)
    return best, index


def pick_windows(x: Array, index: Array) -> Array:
    """Read x at ``index``, (N, C, H, W), (N, C, I, J) -> (N, C, I, J)."""
    flat = xp_of(x).take_along_axis(_planes(x), _planes(index), -1)
    return flat.reshape(index.shape)


def put_windows(y: Array, index: Array, size: tuple[int, int]) -> Array:
    """Put y at ``index``, (N, C, I, J) -> (N, C, H, W), and zeros elsewhere."""
    xp = xp_of(y)
    x = xp.zeros((*y.shape[:2], *size), y.dtype)
    n, c = xp.indices(y.shape[:2])[..., None]
    xp.add.at(_planes(x), (n, c, _planes(index)), _planes(y))
    return x


def _planes(x: Array) -> Array:
    """Flatten (N, C, H, W) to (N, C, H W), also where there is no image."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h * w)
