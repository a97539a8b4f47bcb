"""The cross-entropy of pixels, weighted by class, by place, or by both.

    E = 1/Z sum over pixels p of  w[p] c[t_p] (-log softmax(x_p)[t_p])

Two normalisations are in use, and they differ by the mean weight, that is, by a factor on the
learning rate that changes from batch to batch:

    "pixels"    Z = the number of pixels that count     (Caffe's SegNet)
    "weights"   Z = sum of w[p] c[t_p] over them        (PyTorch's CrossEntropyLoss(weight=...))
    "sum"       Z = 1                                   (U-Net's paper, FCN's release)
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.compute.arrays import xp_of
from minidl.errors import ArgumentError, ShapeError, message
from minidl.tensor import Tensor, as_tensor

NORMALISATIONS = ("pixels", "weights", "sum")


def pixel_cross_entropy(
    x: Any,
    target: Any,
    class_weight: Any = None,
    pixel_weight: Any = None,
    ignore_index: int = -100,
    normalisation: str = "pixels",
) -> Tensor:
    """Compute the weighted cross-entropy of pixels, -log softmax(x) at each one's class.

    (N, C, H, W), (N, H, W) -> ()

    Parameters
    ----------
    x : Tensor, shape (N, C, H, W)
        Logits.
    target : Tensor of integers, shape (N, H, W)
    class_weight : array, shape (C,), optional
        c, for example ``median_frequency_weights``.
    pixel_weight : array, shape (N, H, W), optional
        w, for example ``border_weight_map``.
    ignore_index : int
        A class whose pixels do not count.
    normalisation : {"pixels", "weights", "sum"}
        What Z is; the table above. Where nothing counts, the loss is 0 and not 0 / 0, so that
        a tile without a labelled pixel cannot spoil a training.

    Raises
    ------
    ArgumentError
        If the normalisation is unknown, or a class does not exist.
    ShapeError
        If a weight is not of the target's shape, or not one for each class.
    """
    if normalisation not in NORMALISATIONS:
        raise ArgumentError(
            message(
                f"pixel_cross_entropy: unknown normalisation {normalisation!r}",
                hint=f"choose one of {NORMALISATIONS}.",
            )
        )
    x, target = as_tensor(x), as_tensor(target)
    loss = F.cross_entropy(x, target, None, ignore_index, "none")
    counted = (target != ignore_index).astype(loss.dtype)
    weight = counted
    if class_weight is not None:
        weight = weight * _of_each_pixel(class_weight, x, target, ignore_index)
    if pixel_weight is not None:
        weight = weight * _map(pixel_weight, loss)
    total = (loss * weight).sum()
    if normalisation == "sum":
        return total
    z = (counted if normalisation == "pixels" else weight).sum()
    return total / F.where(z == 0, 1.0, z)


def _of_each_pixel(class_weight: Any, x: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Look up c of each pixel's class; ignored pixels get class 0's, to be multiplied by 0."""
    given = as_tensor(class_weight).to(x.device)
    if given.shape != (x.shape[1],):
        raise ShapeError(
            message(
                "pixel_cross_entropy: class_weight needs one number per class C",
                f"x has shape {x.shape}, so C = {x.shape[1]}; "
                f"class_weight has shape {given.shape}",
            )
        )
    xp = xp_of(target.data)
    places = Tensor(xp.where(target.data == ignore_index, 0, target.data))
    return given.astype(x.dtype)[places]


def _map(pixel_weight: Any, loss: Tensor) -> Tensor:
    given = as_tensor(pixel_weight).to(loss.device).astype(loss.dtype)
    if given.shape != loss.shape:
        raise ShapeError(
            message(
                "pixel_cross_entropy: pixel_weight needs one number per pixel",
                f"the target has shape {loss.shape}, read as (N, H, W); "
                f"pixel_weight has shape {given.shape}",
            )
        )
    return given
