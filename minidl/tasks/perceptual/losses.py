"""The three terms of a style transfer: content, style, smoothness.

Each takes features, (N, C, H, W), and gives one number; what it is divided by is a convention
(``minidl.tasks.perceptual.conventions`` has the table).
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl import Tensor
from minidl.errors import ShapeError, message
from minidl.tasks.perceptual.conventions import Convention, find_convention
from minidl.tensor import as_tensor


def content_loss(x: Any, target: Any, convention: str | Convention = "gatys") -> Tensor:
    """Measure how far features are from those of the content image.

    (N, C, H, W), (N, C, H, W) -> ()

    Parameters
    ----------
    x, target : Tensor
        Features; a target of one image, N = 1, serves a batch.
    convention : str or Convention

    Raises
    ------
    ShapeError
        If they are not of one layer and size.
    ArgumentError
        If the convention is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.tasks.perceptual import content_loss
    >>> x, target = np.ones((1, 2, 3, 3)), np.zeros((1, 2, 3, 3))
    >>> content_loss(x, target, "gatys").item(), content_loss(x, target, "johnson").item()
    (9.0, 1.0)
    """
    how = find_convention(convention).content
    x, target = as_tensor(x), as_tensor(target)
    _check_features("content_loss", x)
    if x.shape[1:] != target.shape[1:] or len(target) not in (1, len(x)):
        raise ShapeError(
            message(
                "content_loss: x and target are not features of images of one size",
                f"x has shape {x.shape}, target {target.shape}, read as (N, C, H, W)",
            )
        )
    n = x.shape[0]
    if how == "mean":
        return F.mean(F.square(x - target))
    squares = F.sum(F.square(x - target), (1, 2, 3))
    if how == "half":
        return F.sum(squares) * (0.5 / n)
    return F.mean(squares / _nonzero(F.sum(F.square(target), (1, 2, 3))))


def gram(x: Any, convention: str | Convention = "gatys", mask: Any = None) -> Tensor:
    """Gram matrices of features, divided as the convention says.

    (N, C, H, W) -> (N, C, C)

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
    convention : str or Convention
    mask : Tensor, shape (H, W), optional
        From 0 to 1: how much each position counts. M is then the sum of its squares, so that a
        region's Gram matrix can be compared with that of a whole picture.

    Raises
    ------
    ShapeError
        If x has other axes, or the mask another size or nothing in it.
    """
    how = find_convention(convention)
    x = as_tensor(x)
    _check_features("gram", x)
    channels, positions = x.shape[1], float(x.shape[2] * x.shape[3])
    if mask is not None:
        mask = as_tensor(mask)
        positions = float(F.sum(F.square(mask)).item()) if mask.shape == x.shape[2:] else 0.0
        if positions <= 0:
            raise ShapeError(
                message(
                    "gram: a mask must be as large as the features, and not all 0",
                    f"x has shape {x.shape}, read as (N, C, H, W), the mask {mask.shape}",
                )
            )
        x = x * mask.astype(x.dtype)
    return F.gram_matrix(x) * (1 / (positions * (channels if how.gram == "NM" else 1)))


def style_loss(x: Any, target: Any, convention: str | Convention = "gatys") -> Tensor:
    """Measure how far Gram matrices are from those of the style image.

    (N, C, C), (N, C, C) -> ()

    Parameters
    ----------
    x, target : Tensor
        What ``gram`` gave by the same convention; a target of N = 1 serves a batch.
    convention : str or Convention

    Raises
    ------
    ShapeError
        If they have other axes, or not the same channels.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.tasks.perceptual import gram, style_loss
    >>> x, style = np.ones((1, 2, 3, 3)), np.zeros((1, 2, 5, 4))
    >>> style_loss(gram(x), gram(style)).item()
    0.25
    """
    how = find_convention(convention).style
    x, target = as_tensor(x), as_tensor(target)
    square = x.ndim == 3 and x.shape[1] == x.shape[2]
    if not square or x.shape[1:] != target.shape[1:] or len(target) not in (1, len(x)):
        raise ShapeError(
            message(
                "style_loss: x and target must be Gram matrices of the same channels",
                f"x has shape {x.shape}, target {target.shape}, read as (N, C, C)",
                hint="gram(features, convention) makes them.",
            )
        )
    n, channels = x.shape[:2]
    squares = F.sum(F.square(x - target), (1, 2))
    if how == "relative":
        return F.mean(squares / _nonzero(F.sum(F.square(target), (1, 2))))
    divisor = {"quarter": 4 * channels**2, "mean": channels**2, "sum": 1}[how]
    return F.sum(squares) * (1 / (n * divisor))


def variation_loss(x: Any, convention: str | Convention = "gatys") -> Tensor:
    """Half the squared differences of neighbouring pixels.

    (N, C, H, W) -> ()

    1/2 sum (x[i + 1, j] - x[i, j])^2 + (x[i, j + 1] - x[i, j])^2, over the pixels that have both
    neighbours: the loss whose gradient neural-style and fast-neural-style add. They sum over the
    batch, too. By "relative" it is the mean over these pixels, channels and images instead.
    (``minidl.functional.total_variation`` has all differences, and other powers.)
    """
    how = find_convention(convention).variation
    x = as_tensor(x)
    _check_features("variation_loss", x)
    here = x[..., :-1, :-1]
    squares = F.square(x[..., 1:, :-1] - here) + F.square(x[..., :-1, 1:] - here)
    return (F.sum(squares) if how == "sum" else F.mean(squares)) * 0.5


def _nonzero(total: Tensor) -> Tensor:
    """The divisor of a relative error: a target of zeros must not make it infinite."""
    return F.maximum(total, 1e-12)


def _check_features(who: str, x: Tensor) -> None:
    if x.ndim != 4:
        raise ShapeError(f"{who}: x needs the axes (N, C, H, W), received shape {x.shape}")
