"""Losses: how far an answer is from its target, as one number.

Every loss is an expression of earlier functions; ``reduction`` says what is
done with the elements: "mean" (default), "sum", or "none".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.compute.dtypes import total
from minidl.errors import ArgumentError, DtypeError, ShapeError, message
from minidl.functional.activation import softplus
from minidl.functional.index import check_places
from minidl.functional.likelihood import bernoulli_log_likelihood
from minidl.functional.pointwise import abs, clip, exp, log, square, where
from minidl.functional.reduce import mean, sum
from minidl.functional.shape import reshape
from minidl.functional.softmax import log_softmax
from minidl.kinds import Linear, Pointwise
from minidl.matching import match
from minidl.tensor import Tensor, as_tensor


def _pair(who: str, x: Any, target: Any) -> tuple[Tensor, Tensor]:
    x, target = match(x, target)
    if x.shape != target.shape:
        raise ShapeError(
            message(
                f"{who}: x and target must have the same shape",
                f"x has shape {x.shape}, target {target.shape}",
                hint="broadcasting here is nearly always a mistake; expand one of them.",
            )
        )
    return x, target


def _reduced(who: str, loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return mean(loss)
    if reduction == "sum":
        return sum(loss)
    if reduction == "none":
        return loss
    raise ArgumentError(
        message(
            f"{who}: unknown reduction {reduction!r}", hint='choose "mean", "sum" or "none".'
        )
    )


class BinaryCrossEntropy(Pointwise):
    """-(target log x + (1 - target) log(1 - x)), finite even where x is 0 or 1."""

    def forward(self, x: Array, target: Array) -> Array:
        return -(target * _bounded_log(x) + (1 - target) * _bounded_log(1 - x))

    def slope_x(self, x: Tensor, target: Tensor) -> Tensor:
        return (x - target) / clip(x * (1 - x), min=1e-12)

    def slope_target(self, x: Tensor) -> Tensor:
        return BoundedLog()(1 - x) - BoundedLog()(x)


class BoundedLog(Pointwise):
    """log(p), but at least ``LOWEST``, where it is flat."""

    def forward(self, p: Array) -> Array:
        return _bounded_log(p)

    def slope_p(self, p: Tensor, out: Tensor) -> Tensor:
        inside = out.data > LOWEST
        return Tensor(inside) / where(Tensor(inside), p, 1.0)


LOWEST = -100.0
"""The logarithm, in nats, that no probability goes below in a loss, as in PyTorch."""


def _bounded_log(p: Array) -> Array:
    with np.errstate(divide="ignore"):
        return xp_of(p).maximum(xp_of(p).log(p), LOWEST)


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Square the difference, (x - target)^2."""
    x, target = _pair("mse_loss", x, target)
    return _reduced("mse_loss", square(x - target), reduction)


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Take the size of the difference, |x - target|."""
    x, target = _pair("l1_loss", x, target)
    return _reduced("l1_loss", abs(x - target), reduction)


def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |x - target| < beta, and d - beta / 2 elsewhere.

    Source: Girshick 2015, "Fast R-CNN", equation 3.
    """
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta must not be negative, received {beta}")
    if beta == 0:
        return l1_loss(x, target, reduction)
    x, target = _pair("smooth_l1_loss", x, target)
    d = abs(x - target)
    return _reduced(
        "smooth_l1_loss", where(d < beta, square(d) * (0.5 / beta), d - 0.5 * beta), reduction
    )


def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where d = |x - target| < delta, and delta (d - delta / 2) elsewhere."""
    if delta <= 0:
        raise ArgumentError(f"huber_loss: delta must be positive, received {delta}")
    x, target = _pair("huber_loss", x, target)
    d = abs(x - target)
    loss = where(d < delta, 0.5 * square(d), delta * (d - 0.5 * delta))
    return _reduced("huber_loss", loss, reduction)


def binary_cross_entropy(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """-(target log x + (1 - target) log(1 - x)), for probabilities x.

    A logarithm below -100 counts as -100, as in PyTorch. From logits, use
    ``binary_cross_entropy_with_logits``: it loses no digits.
    """
    x, target = _pair("binary_cross_entropy", x, target)
    data = x.data
    if data.size and not (data.min() >= 0 and data.max() <= 1):
        raise ArgumentError(
            message(
                "binary_cross_entropy: x must be probabilities, between 0 and 1",
                f"received values from {data.min()} to {data.max()}",
                hint="for logits use binary_cross_entropy_with_logits.",
            )
        )
    loss = BinaryCrossEntropy()(x, target)
    loss = loss if weight is None else loss * weight
    return _reduced("binary_cross_entropy", loss, reduction)


def binary_cross_entropy_with_logits(
    x: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Take the cross-entropy of targets and sigmoid(x), from the logits x.

    ``pos_weight`` multiplies the part of positive targets.
    """
    who = "binary_cross_entropy_with_logits"
    x, target = _pair(who, x, target)
    if pos_weight is None:
        loss = -bernoulli_log_likelihood(target, x)
    else:
        positives = target * (as_tensor(pos_weight).astype(x.dtype) - 1) + 1
        loss = (1 - target) * x + positives * softplus(-x, threshold=float("inf"))
    loss = loss if weight is None else loss * weight
    return _reduced(who, loss, reduction)


def kl_div(x: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Take target (log target - x), of log-probabilities x: how far they are from target's.

    Parameters
    ----------
    x : Tensor
        Logarithms of probabilities, as ``log_softmax`` gives them.
    target : Tensor of x's shape
        Probabilities, or their logarithms with ``log_target``. A probability of 0 adds nothing.
    reduction : {"mean", "batchmean", "sum", "none"}
        "batchmean", the sum over the length of the first axis, is the divergence of Kullback
        & Leibler 1951, "On information and sufficiency"; "mean" divides by all elements.
    """
    x, target = _pair("kl_div", x, target)
    if log_target:
        loss = exp(target) * (target - x)
    else:
        loss = target * log(where(target > 0, target, 1.0)) - target * x
    if reduction != "batchmean":
        return _reduced("kl_div", loss, reduction)
    return sum(loss) / max(loss.shape[0] if loss.ndim else 1, 1)


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Take -log softmax(x) at the target class.

    (N, C, ...), (N, ...) -> ()

    Parameters
    ----------
    x : Tensor, shape (N, C, ...) or (C,)
        Logits; further axes are positions, as in segmentation.
    target : Tensor of integers, shape (N, ...), or of x's shape and dtype
        Classes, or the probability of each class.
    weight : Tensor, shape (C,), optional
        Of each class; the mean is then weighted.
    ignore_index : int
        A class whose positions do not count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        Share of the target that is spread evenly over all classes (Szegedy et
        al. 2016, "Rethinking the Inception architecture", section 7).

    Raises
    ------
    PlaceError
        If a class does not exist; targets on a GPU are waited for, to see that.
    """
    x, target = as_tensor(x), as_tensor(target)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"cross_entropy: label_smoothing must be between 0 and 1, received {label_smoothing}"
        )
    axis = _class_axis("cross_entropy", x)
    log_p = log_softmax(x, axis)
    if target.dtype.kind == "f":
        return _soft_cross_entropy(log_p, target, weight, reduction, label_smoothing, axis)
    hard, share, counted = _picked(log_p, target, weight, ignore_index)
    if label_smoothing:
        weighted = log_p if weight is None else log_p * _per_class(weight, log_p, axis)
        spread = -sum(weighted, axis) * Tensor(counted)
        classes = x.shape[axis]
        hard = (1 - label_smoothing) * hard + (label_smoothing / classes) * spread
    return _class_mean("cross_entropy", hard, share, reduction)


def nll_loss(
    x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Take -x at the target class, for log-probabilities x; see ``cross_entropy``."""
    x, target = as_tensor(x), as_tensor(target)
    loss, share, _ = _picked(x, target, weight, ignore_index)
    return _class_mean("nll_loss", loss, share, reduction)


def _class_axis(who: str, x: Tensor) -> int:
    if not x.ndim:
        raise ShapeError(f"{who}: x needs the axes (N, C, ...) or (C,), received one number")
    return min(x.ndim - 1, 1)


def _per_class(weight: Any, x: Tensor, axis: int) -> Tensor:
    given = as_tensor(weight)
    if given.shape != (x.shape[axis],):
        raise ShapeError(
            message(
                "cross_entropy: weight needs one number per class C",
                f"x has shape {x.shape}, so C = {x.shape[axis]}; weight has shape {given.shape}",
            )
        )
    return reshape(given, (-1, *[1] * (x.ndim - 1 - axis)))


def _picked(
    log_p: Tensor, target: Tensor, weight: Any, ignore_index: int
) -> tuple[Tensor, Any, Any]:
    """Return the loss of each position, its share in the mean, and whether it counts."""
    axis = _class_axis("nll_loss", log_p)
    classes = log_p.shape[axis]
    if target.dtype.kind not in "iu":
        raise DtypeError(
            message(
                f"cross_entropy: target must hold classes, integers, not {target.dtype}",
                hint="convert it first: target.astype(numpy.int64).",
            )
        )
    if target.shape != log_p.shape[:axis] + log_p.shape[axis + 1 :]:
        raise ShapeError(
            message(
                "cross_entropy: target must have x's shape without the class axis C",
                f"x has shape {log_p.shape}, read as (N, C, ...); target has shape {target.shape}",
            )
        )
    xp = xp_of(log_p.data)
    labels = target.data
    counted = labels != ignore_index
    places = xp.where(counted, labels, 0)
    check_places("cross_entropy", places, classes, what="class",
                 told=f"x has shape {log_p.shape}, read as (N, C, ...)",
                 hint="mark positions that do not count with ignore_index.")
    share = counted.astype(log_p.dtype)
    if weight is not None:
        per_class = _per_class(weight, log_p, axis).data.reshape(-1)
        share = share * per_class[places].astype(log_p.dtype)
    return ClassLoss(log_p.data, places, share, axis)(log_p), share, counted.astype(log_p.dtype)


class ClassLoss(Linear):
    """-share x at the class of each position, (N, C, ...) -> (N, ...).

    Parameters
    ----------
    x : array
        One that lies in memory as those to come.
    classes, share : array, shape (N, ...)
    axis : int
        That of C.
    """

    fresh = True

    def __init__(self, x: Array, classes: Array, share: Array, axis: int):
        xp = xp_of(x)
        self.shape, self.axis, self.share = x.shape, axis, share
        # In memory the classes of a position lie side by side, or in planes of so many pixels.
        self.side_by_side = xp.moveaxis(x, axis, x.ndim - 1).flags.c_contiguous
        pixels = 1 if self.side_by_side else math.prod(x.shape[axis + 1 :])
        planes = xp.arange(0, x.size, max(x.shape[axis] * pixels, 1))[:, None]
        self.places = (planes + xp.arange(pixels)).reshape(classes.shape) + classes * pixels

    def apply(self, x: Array) -> Array:
        xp = xp_of(x)
        laid = xp.moveaxis(x, self.axis, x.ndim - 1) if self.side_by_side else x
        return xp.ascontiguousarray(laid).reshape(-1)[self.places] * -self.share

    def adjoint(self, y: Array) -> Array:
        xp, shape = xp_of(y), list(self.shape)
        if self.side_by_side:
            shape.append(shape.pop(self.axis))
        x = xp.zeros(math.prod(shape), y.dtype)
        x[self.places] = y * -self.share
        x = x.reshape(shape)
        return xp.moveaxis(x, x.ndim - 1, self.axis) if self.side_by_side else x


def _class_mean(who: str, loss: Tensor, share: Any, reduction: str) -> Tensor:
    """Reduce a loss, with a mean weighted by each position's share."""
    if reduction != "mean":
        return _reduced(who, loss, reduction)
    # Where nothing counts the value is 0 / 0, as in PyTorch, and the gradient 0: no step is taken.
    xp, shares = xp_of(loss.data), total(share)
    mean = sum(loss) / Tensor(xp.where(shares == 0, 1, shares).astype(loss.dtype))
    return mean + Tensor(xp.where(shares == 0, xp.nan, 0).astype(loss.dtype))


def _soft_cross_entropy(
    log_p: Tensor, target: Tensor, weight: Any, reduction: str, smoothing: float, axis: int
) -> Tensor:
    log_p, target = _pair("cross_entropy", log_p, target)
    classes = log_p.shape[axis]
    target = target * (1 - smoothing) + smoothing / classes if smoothing else target
    weighted = log_p if weight is None else log_p * _per_class(weight, log_p, axis)
    loss = -sum(weighted * target, axis)
    return _reduced("cross_entropy", loss, reduction)
