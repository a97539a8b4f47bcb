"""What a disparity is trained by when nobody knows the depth: two views must agree, smoothly.

    E = photometric(I_w, I_L) + gamma smoothness(D)

                    paper (2016)                          release (later, "TV-L1")
    photometric     sum |I_w - I_L|^2                     sum |0.004 I_w - 0.004 I_L|
    smoothness      sum |grad D|^2  (Horn & Schunck)      sum exp(-0.33 sum_c |grad I_c|) |grad D|
    gamma           0.01                                  0.05
    divided by      not known to us                       N, the batch

All sums run over pixels, channels and, for gradients, both axes. The release's images hold 0 ..
255, so 0.004 brings them to about [0, 1]; ``gamma`` only means something together with the range
of the images, which the paper leaves open. ``reduction="sum"`` divides by N as the release does,
``"mean"`` by the number of pixels too, so that one gamma suits all sizes.

A quadratic penalty spreads a step over many pixels, since many small steps are cheaper than
one; |.| does not care how a step is spread, and the weight lets it fall where the image has an
edge.

Source: Garg et al. 2016, section 2, and the authors' release (warping, loss and filter layers).
From memory: the paper's formula and its gamma.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.errors import ArgumentError, ShapeError, message
from minidl.matching import match
from minidl.tensor import Tensor

PAPER_GAMMA = 0.01
"""The paper's weight of the smoothness."""
EDGE_STRENGTH = 0.33
"""The release's decay of the smoothness per unit of image gradient."""

KINDS = ("squared", "absolute")
REDUCTIONS = ("mean", "sum")


def photometric(
    warped: Any, left: Any, kind: str = "squared", weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Measure how much the rebuilt left view differs from the real one.

    (N, C, H, W), (N, C, H, W) -> ()

    Parameters
    ----------
    warped, left : Tensor, shape (N, C, H, W)
    kind : {"squared", "absolute"}
        The paper's, or the release's.
    weight : Tensor, shape (N, 1, H, W), optional
        Weight of each pixel, for example ``in_view(disparity)``.
    reduction : {"mean", "sum"}
        Sums over channels and pixels, divided by N H W or by N.

    Raises
    ------
    ShapeError
        If the shapes differ.
    ArgumentError
        If an option is unknown.
    """
    warped, left = match(warped, left)
    _known("photometric: kind", kind, KINDS)
    if warped.shape != left.shape or warped.ndim != 4:
        raise ShapeError(
            message(
                "photometric: the two views must be (N, C, H, W), of one shape",
                f"warped has shape {warped.shape}, left has shape {left.shape}",
            )
        )
    error = F.square(warped - left) if kind == "squared" else F.abs(warped - left)
    return _reduced([error if weight is None else error * weight], left, reduction)


def quadratic_smoothness(disparity: Any, reduction: str = "mean") -> Tensor:
    """Horn & Schunck's penalty, the sum of |grad D|^2: (N, 1, H, W) -> ().

    The gradient is the difference of neighbours. ``reduction`` as in ``photometric``.
    """
    (disparity,) = match(disparity)
    steps = [
        disparity[..., 1:] - disparity[..., :-1],
        disparity[..., 1:, :] - disparity[..., :-1, :],
    ]
    return _reduced([F.square(step) for step in steps], disparity, reduction)


def edge_aware_tv(
    disparity: Any,
    image: Any,
    strength: float = EDGE_STRENGTH,
    released: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Total variation that costs less where the image has an edge along the same axis.

    (N, 1, H, W), (N, C, H, W) -> ()

    Parameters
    ----------
    disparity : Tensor, shape (N, 1, H, W)
    image : Tensor, shape (N, C, H, W)
        The same view, in the range of the loss (about [0, 1]).
    strength : float
        The weight is exp(-strength sum over c of |half the central difference of I_c|).
    released : bool
        As the release computes it: along x, the channels' differences are summed first and
        their absolute value is taken then. Otherwise both axes take the absolute values first.
    reduction : {"mean", "sum"}
        As in ``photometric``.

    Notes
    -----
    Central differences over two, without padding: the outermost pixels have none.
    """
    disparity, image = match(disparity, image)
    if disparity.shape[2:] != image.shape[2:] or disparity.shape[0] != image.shape[0]:
        raise ShapeError(
            message(
                "edge_aware_tv: disparity and image differ in N, H or W",
                f"disparity has shape {disparity.shape}, image has shape {image.shape}",
            )
        )
    parts = []
    for axis in (3, 2):
        edge = _central(image, axis)
        if released and axis == 3:
            edge = F.abs(F.sum(edge, axis=1, keepdims=True))
        else:
            edge = F.sum(F.abs(edge), axis=1, keepdims=True)
        parts.append(F.abs(F.exp(edge * -strength) * _central(disparity, axis)))
    return _reduced(parts, disparity, reduction)


def _central(x: Tensor, axis: int) -> Tensor:
    if axis == 3:
        return (x[..., 2:] - x[..., :-2]) * 0.5
    return (x[..., 2:, :] - x[..., :-2, :]) * 0.5


def _reduced(parts: list[Tensor], of: Tensor, reduction: str) -> Tensor:
    _known("reduction", reduction, REDUCTIONS)
    n, _, h, w = of.shape
    total = F.sum(parts[0])
    for part in parts[1:]:
        total = total + F.sum(part)
    return total * (1 / (n * h * w if reduction == "mean" else n))


def _known(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{what} is one of {list(choices)}, received {value!r}")
