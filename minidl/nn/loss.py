"""Losses as modules: ``loss(x, target)``, one number unless ``reduction="none"``.

``reduction`` is ``"mean"`` over the elements, ``"sum"``, or ``"none"``. Weights
are buffers: they move with the module and are saved with it.
"""

from __future__ import annotations

from typing import Any

import minidl.functional as F
from minidl.nn.module import Module
from minidl.tensor import Tensor


class _Loss(Module):
    def __init__(self, reduction: str):
        super().__init__()
        self.reduction = reduction


class _WeightedLoss(_Loss):
    weight: Tensor | None

    def __init__(self, weight: Any, reduction: str):
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """The squared error (x - target)^2."""

    def __init__(self, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.mse_loss(x, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The absolute error |x - target|."""

    def __init__(self, reduction: str = "mean"):
        super().__init__(reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.l1_loss(x, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """The smooth L1 error: d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        self.beta = beta

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.smooth_l1_loss(x, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Huber's error: d^2 / 2 where d = |x - target| < delta, else delta (d - delta / 2)."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.huber_loss(x, target, reduction=self.reduction, delta=self.delta)


class KLDivLoss(_Loss):
    """The divergence of targets from log-probabilities x; "batchmean" is the usual reduction."""

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.kl_div(x, target, self.reduction, self.log_target)


class BCELoss(_WeightedLoss):
    """The cross-entropy -(target log x + (1 - target) log(1 - x)) of probabilities x."""

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        super().__init__(weight, reduction)

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy(x, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """The cross-entropy of targets and sigmoid(x), without losing digits in between.

    Parameters
    ----------
    weight : Tensor, optional
        The weight of each element.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor, optional
        A factor of the part of positive targets.
    """

    pos_weight: Tensor | None

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            x, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class CrossEntropyLoss(_WeightedLoss):
    """The cross-entropy -log softmax(x) at the target class: (N, C, ...), (N, ...) -> ().

    Parameters
    ----------
    weight : Tensor, shape (C,), optional
        The weight of each class.
    ignore_index : int
        A target that does not count.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float
        Share of the target that is spread over all classes.
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(weight, reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.cross_entropy(
            x, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(_WeightedLoss):
    """The negative log-likelihood: -x at the target class, for log-probabilities x."""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, x: Any, target: Any) -> Tensor:
        return F.nll_loss(x, target, self.weight, self.ignore_index, self.reduction)
