"""Sampling an image at given points (spatial transformers, warping by a flow).

A point falls between pixels. Which pixels are near it is found without a
derivative (whole numbers); how near it is to each is an ordinary function of
Tensors; and mixing the pixels by these weights is a bilinear form of image and
weights. So the gradients by the image and by the points follow, to every order.

Source: Jaderberg et al. 2015, "Spatial transformer networks", section 3.3.
"""

from __future__ import annotations

from typing import Any

from minidl.compute import reference
from minidl.compute.arrays import Array, xp_of
from minidl.compute.dispatch import run
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.pointwise import abs, clip, where
from minidl.functional.shape import reshape, stack
from minidl.kinds import Bilinear
from minidl.matching import match_floats
from minidl.tensor import Tensor, as_tensor

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


class GridSample(Bilinear):
    """T(image, weight, y) = sum image[n, c, index[n, p, t]] weight[n, p, t] y[n, c, p]."""

    letters = ("image", "weight", "y")

    def __init__(self, index: Array, pixels: int):
        self.index, self.pixels = index, pixels

    def corner_image(self, weight: Array, y: Array) -> Array:
        return run(reference.grid_sample_image, weight, y, index=self.index, pixels=self.pixels)

    def corner_weight(self, image: Array, y: Array) -> Array:
        return run(reference.grid_sample_weight, image, y, index=self.index)

    def corner_y(self, image: Array, weight: Array) -> Array:
        return run(reference.grid_sample_y, image, weight, index=self.index)


def grid_sample(
    x: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Read the image at given points.

    (N, C, H, W), (N, I, J, 2) -> (N, C, I, J)

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    grid : Tensor, shape (N, I, J, 2)
        Points (horizontal, vertical); -1 and 1 are the image's borders.
    mode : {"bilinear", "nearest", "bicubic"}
        ``"nearest"`` has no gradient by the grid.
    padding_mode : {"zeros", "border", "reflection"}
        What lies outside the image.
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the corner pixels (True) or the
        outer edges of the image (False, and None).

    Raises
    ------
    ShapeError
        If grid is not (N, I, J, 2) with x's N.
    ArgumentError
        If a mode is unknown.
    """
    x, grid = match_floats("grid_sample", x, grid)
    _check(x, grid, mode, padding_mode)
    n, c, h, w = x.shape
    corners = bool(align_corners)
    across = _pixels(grid[..., 0], w, corners)
    down = _pixels(grid[..., 1], h, corners)
    if mode != "bicubic":  # bicubic keeps the point and reflects its taps, one by one
        across = _outside(across, w, padding_mode, corners)
        down = _outside(down, h, padding_mode, corners)
    columns, weights_w = _near(across, mode, w, padding_mode)
    rows, weights_h = _near(down, mode, h, padding_mode)
    if mode == "bicubic":
        columns = [_outside(c, w, padding_mode, corners) for c in columns]
        rows = [_outside(r, h, padding_mode, corners) for r in rows]

    points = grid.shape[1] * grid.shape[2]
    index, weights = [], []
    for row, weight_h in zip(rows, weights_h, strict=True):
        for column, weight_w in zip(columns, weights_w, strict=True):
            place, inside = _place(row.data, column.data, h, w)
            index.append(place.reshape(n, points))
            weights.append(reshape(weight_h * weight_w * inside, (n, points)))
    xp = xp_of(x.data)
    form = GridSample(xp.stack(index, -1), h * w)
    y = form.corner("y")(reshape(x, (n, c, h * w)), stack(weights, -1))
    return reshape(y, (n, c, *grid.shape[1:3]))


def _pixels(g: Tensor, size: int, corners: bool) -> Tensor:
    """Map [-1, 1] to pixels."""
    return (g + 1) * ((size - 1) / 2) if corners else (g + 1) * (size / 2) - 0.5


def _near(
    p: Tensor, mode: str, size: int, padding_mode: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Find the whole pixels near a coordinate, and the weight of each."""
    xp = xp_of(p.data)
    if mode == "nearest":
        return [Tensor(xp.rint(p.data))], [Tensor(xp.ones_like(p.data))]
    first = xp.floor(p.data)
    if mode == "bilinear":
        second = first + 1
        if padding_mode != "zeros":
            # On the last pixel the slope is that of the line which ends there: none begins.
            first = xp.minimum(first, max(size - 2, 0))
            second = xp.minimum(first + 1, size - 1)
        share = p - Tensor(first)
        return [Tensor(first), Tensor(second)], [1 - share, share]
    first = Tensor(first)
    share = p - first
    offsets = (-1, 0, 1, 2)
    return [first + o for o in offsets], [_cubic(share - o, near=o in (0, 1)) for o in offsets]


def _cubic(distance: Tensor, near: bool, a: float = -0.75) -> Tensor:
    """Evaluate Keys' kernel, on its near piece (|distance| <= 1) or its far one."""
    x = abs(distance)
    if near:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return a * (((x - 5) * x + 8) * x - 4)


def _outside(p: Tensor, size: int, padding_mode: str, corners: bool) -> Tensor:
    """Bring coordinates into the image, unless what is outside is zero."""
    if padding_mode == "zeros":
        return p
    if padding_mode == "reflection":
        low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
        p = _reflected(p, low, high)
    return clip(p, 0, size - 1)


def _reflected(p: Tensor, low: float, high: float) -> Tensor:
    """Fold coordinates into [low, high], as between two mirrors."""
    span = high - low
    if span == 0:
        return p * 0
    distance = abs(p - low)
    folds = xp_of(p.data).floor(distance.data / span)
    rest = distance - folds * span
    return where(folds % 2 == 0, rest + low, high - rest)


def _place(row: Array, column: Array, h: int, w: int) -> tuple[Array, Array]:
    """Return flat places of whole coordinates, and 1 where they are inside, 0 where not."""
    xp = xp_of(row)
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    # NaN and infinity are not inside; they must become some place before casting.
    r = xp.where(inside, row, 0).astype(xp.int64)
    c = xp.where(inside, column, 0).astype(xp.int64)
    return r * w + c, inside.astype(row.dtype)


def _check(x: Tensor, grid: Tensor, mode: str, padding_mode: str) -> None:
    if mode not in MODES or padding_mode not in PADDINGS:
        raise ArgumentError(
            message(
                "grid_sample: unknown mode or padding_mode",
                f"received mode={mode!r}, padding_mode={padding_mode!r}",
                hint=f"choose a mode of {MODES} and a padding_mode of {PADDINGS}.",
            )
        )
    if x.ndim != 4 or grid.ndim != 4 or grid.shape[3] != 2 or grid.shape[0] != x.shape[0]:
        raise ShapeError(
            message(
                "grid_sample: x must be (N, C, H, W), and grid (N, I, J, 2) with the same N",
                f"x has shape {x.shape}, grid has shape {grid.shape}",
            )
        )
    if 0 in x.shape[2:]:
        raise ShapeError(f"grid_sample: the image is empty, x has shape {x.shape}")


def affine_grid(theta: Any, size: tuple[int, ...], align_corners: bool | None = None) -> Tensor:
    """Lay a grid: the points that an affine map sends the pixels of the output to.

    (N, 2, 3) -> (N, I, J, 2), for ``grid_sample``

    Parameters
    ----------
    theta : Tensor, shape (N, 2, 3)
        Maps (horizontal, vertical, 1) of the output to points of the input.
    size : (N, C, I, J)
        Of the output.
    align_corners : bool, optional
        As in ``grid_sample``.
    """
    theta = as_tensor(theta)
    if theta.ndim != 3 or theta.shape[1:] != (2, 3) or len(size) != 4 or size[0] != theta.shape[0]:
        raise ShapeError(
            message(
                "affine_grid: theta must be (N, 2, 3), and size (N, C, I, J) with the same N",
                f"theta has shape {theta.shape}, size is {tuple(size)}",
            )
        )
    _, _, i, j = size
    xp = xp_of(theta.data)
    points = xp.ones((i, j, 3), theta.dtype)
    points[..., 0] = _centres(j, bool(align_corners), xp)
    points[..., 1] = _centres(i, bool(align_corners), xp)[:, None]
    mapped = Tensor(points.reshape(-1, 3)) @ theta.transpose(1, 2)
    return reshape(mapped, (theta.shape[0], i, j, 2))


def _centres(count: int, corners: bool, xp: Any) -> Array:
    """Place the pixels' centres, from -1 to 1."""
    if corners:
        return xp.linspace(-1, 1, count) if count > 1 else xp.zeros(1)
    return (2 * xp.arange(count) + 1) / count - 1
