"""The loss of the restoration papers."""

from __future__ import annotations

from typing import Any

from minidl.errors import ShapeError, message
from minidl.tensor import Tensor, as_tensor


def euclidean_loss(answer: Any, target: Any) -> Tensor:
    """Half the sum of squared errors of an image, averaged over the batch: Caffe's EuclideanLoss.

    (N, C, H, W), (N, C, H, W) -> ()

    SRCNN and VDSR are trained with it; RED-Net's loss has no half. It grows with the patches'
    size: learning rates of these papers are for this sum, and not for a mean over pixels.

    Raises
    ------
    ShapeError
        If the shapes differ, as those of valid convolutions and of whole patches do.
    """
    answer, target = as_tensor(answer), as_tensor(target)
    if answer.shape != target.shape:
        raise ShapeError(
            message(
                "euclidean_loss: answer and target differ in shape",
                f"received {answer.shape} and {target.shape}",
                hint="the target of a valid network is the middle of the patch.",
            )
        )
    return ((answer - target) ** 2).sum() / (2 * answer.shape[0])
