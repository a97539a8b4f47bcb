"""Adam, and AdamW, whose weight decay does not pass through the moments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.passes import pass_over
from minidl.compute.reference.optimizer import AdamRates
from minidl.errors import ArgumentError
from minidl.optim.optimizer import Optimizer, remembered


class Adam(Optimizer):
    """p <- p - lr m / (sqrt(v) + eps), running means m of the gradient and v of its square.

    Both means start at zero and are corrected for it.

    Parameters
    ----------
    params : iterable of Tensors or dicts
    lr : float
    betas : (float, float)
        Share of m and of v that is kept.
    eps : float
    weight_decay : float
        This times p is added to the gradient.
    amsgrad : bool
        Divide by the largest v so far (Reddi, Kale & Kumar 2018, "On the
        convergence of Adam and beyond", algorithm 2).

    Notes
    -----
    Source: Kingma & Ba 2015, "Adam", algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            raise ArgumentError(
                f"{type(self).__name__}: betas are two numbers from 0 to below 1, "
                f"received {group['betas']}"
            )

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        keep_m, keep_v = group["betas"]
        rate, decay = group["lr"], group["weight_decay"]
        names = ["exp_avg", "exp_avg_sq", *["max_exp_avg_sq"] * group["amsgrad"]]
        memory = [remembered(state, name, p) for name in names]
        t = state["step"] = state.get("step", 0) + 1
        rates = AdamRates(
            decay=0.0 if self.decoupled else decay,
            share_m=1 - keep_m, keep_v=keep_v, share_v=1 - keep_v,
            keep_p=1 - rate * decay if self.decoupled else 1.0,
            rate=rate / (1 - keep_m**t), scale=1 / math.sqrt(1 - keep_v**t), eps=group["eps"],
        )
        grad = grad.astype(p.dtype, copy=False)
        pass_over(reference.adam, p, grad, *memory, rates=rates, in_place=True)


class AdamW(Adam):
    """Adam with decoupled weight decay: p shrinks by lr * weight_decay at each step.

    Its parameters are Adam's. Source: Loshchilov & Hutter 2019, "Decoupled weight
    decay regularization", algorithm 2.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
