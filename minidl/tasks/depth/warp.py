"""The left view, rebuilt from the right one by a disparity: I_w(x) = I_R(x - D(x)).

Two derivatives by D are to be had:

    "exact"    of bilinear interpolation: -(the difference of the two pixels that x - D lies
               between). What automatic differentiation gives.
    "taylor"   of I_w made linear around the present D_0,

                   I_w(D) = I_w(D_0) - (D - D_0) dI_w/dx,

               with dI_w/dx the central difference of the *warped* image, 0 in the first and last
               column. What Garg et al. derive, and what their release computes (its sign is the
               other one: it samples at x + u, with u = -D).

The two are not the same function: the second looks at four pixels of the right view and not at two,
so it reaches further and is smoother; and where D changes from pixel to pixel, the warped image is
stretched, and its slope is (1 - dD/dx) times that of the right view.

Source: Garg, Vijay Kumar, Carneiro & Reid 2016, "Unsupervised CNN for single view depth
estimation: geometry to the rescue", section 2.1; Jaderberg et al. 2015, "Spatial transformer
networks", section 3.3, for the sampling.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.autograd import Op
from minidl.compute.arrays import Array, xp_of
from minidl.errors import ArgumentError, ShapeError, message
from minidl.matching import match
from minidl.tensor import Tensor

DERIVATIVES = ("exact", "taylor")
PADDING_MODES = ("zeros", "border")


class Linearised(Op):
    """A warped image whose derivative by the disparity is -(its own central difference).

    (N, C, H, W), (N, 1, H, W) -> (N, C, H, W)
    """

    def forward(self, warped: Array, disparity: Array) -> Array:
        return warped

    def vjp_warped(self, grad: Tensor) -> Tensor:
        return grad

    def vjp_disparity(self, grad: Tensor, out: Tensor) -> Tensor:
        return -F.sum(grad * central_difference(out), axis=1, keepdims=True)


def warp(
    right: Any, disparity: Any, derivative: str = "exact", padding_mode: str = "zeros"
) -> Tensor:
    """Rebuild the left view from the right one and the disparity.

    (N, C, H, W), (N, 1, H, W) -> (N, C, H, W)

    Parameters
    ----------
    right : Tensor, shape (N, C, H, W)
    disparity : Tensor, shape (N, 1, H, W)
        D, of the left view, in pixels of this grid: x_R = x_L - D. Of a real pair D >= 0.
    derivative : {"exact", "taylor"}
        Which derivative by the disparity, as above; the values are equal.
    padding_mode : {"zeros", "border"}
        What lies outside the right view: 0, as in the release, or its nearest pixel, so that
        leaving the view is neither punished nor of any use.

    Raises
    ------
    ShapeError
        If the disparity is not (N, 1, H, W) of right's N, H and W.
    ArgumentError
        If an option is unknown.

    Examples
    --------
    >>> right = [[[[10.0, 20.0, 30.0, 40.0]]]]
    >>> warp(right, [[[[0.0, 1.0, 1.0, 0.5]]]]).tolist()
    [[[[10.0, 10.0, 20.0, 35.0]]]]
    """
    right, disparity = match(right, disparity)
    _check(right, disparity, derivative, padding_mode)
    if derivative == "exact":
        return _sampled(right, disparity, padding_mode)
    return Linearised()(_sampled(right, disparity.detach(), padding_mode), disparity)


def central_difference(x: Tensor) -> Tensor:
    """Half of (right minus left neighbour), 0 at the borders: (N, C, H, W) -> (N, C, H, W)."""
    if x.shape[3] < 3:
        return x * 0
    return F.pad((x[..., 2:] - x[..., :-2]) * 0.5, (1, 1))


def in_view(disparity: Any) -> Tensor:
    """A mask: 1 where x - D falls into the right view, else 0: (N, 1, H, W) -> (N, 1, H, W)."""
    (disparity,) = match(disparity)
    columns = _columns(disparity)
    place = columns - disparity.data
    inside = (place >= 0) & (place <= disparity.shape[3] - 1)
    return Tensor(inside.astype(disparity.dtype))


def _sampled(right: Tensor, disparity: Tensor, padding_mode: str) -> Tensor:
    n, _, h, w = right.shape
    xp = xp_of(disparity.data)
    # grid_sample counts from -1 to 1 between the centres of the corner pixels.
    across = (_columns(disparity) - disparity) * (2 / max(w - 1, 1)) - 1
    rows = xp.arange(h, dtype=disparity.dtype).reshape(1, 1, h, 1) * (2 / max(h - 1, 1)) - 1
    down = Tensor(xp.ascontiguousarray(xp.broadcast_to(rows, disparity.shape)))
    grid = F.stack([F.reshape(across, (n, h, w)), F.reshape(down, (n, h, w))], -1)
    return F.grid_sample(right, grid, "bilinear", padding_mode, align_corners=True)


def _columns(disparity: Tensor) -> Array:
    return xp_of(disparity.data).arange(disparity.shape[3], dtype=disparity.dtype)


def _check(right: Tensor, disparity: Tensor, derivative: str, padding_mode: str) -> None:
    if derivative not in DERIVATIVES or padding_mode not in PADDING_MODES:
        raise ArgumentError(
            message(
                "warp: unknown derivative or padding_mode",
                f"received derivative={derivative!r}, padding_mode={padding_mode!r}",
                hint=f"choose a derivative of {DERIVATIVES} and a padding_mode of {PADDING_MODES}.",
            )
        )
    n, h, w = right.shape[0], *right.shape[-2:]
    if right.ndim != 4 or disparity.shape != (n, 1, h, w):
        raise ShapeError(
            message(
                "warp: the disparity must be (N, 1, H, W), of the right view's N, H and W",
                f"right has shape {right.shape}, read as (N, C, H, W)",
                f"disparity has shape {disparity.shape}",
            )
        )
