"""Adam, and AdamW, whose weight decay does not pass through the moments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from minidl.compute.arrays import Array, xp_of
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
        if group["weight_decay"] and self.decoupled:
            p *= 1 - group["lr"] * group["weight_decay"]
        elif group["weight_decay"]:
            grad = grad + group["weight_decay"] * p
        m, v = remembered(state, "exp_avg", p), remembered(state, "exp_avg_sq", p)
        t = state["step"] = state.get("step", 0) + 1
        m += (1 - keep_m) * (grad - m)
        v *= keep_v
        v += (1 - keep_v) * grad * grad
        if group["amsgrad"]:
            largest = remembered(state, "max_exp_avg_sq", p)
            xp_of(p).maximum(largest, v, out=largest)
            v = largest
        spread = xp_of(p).sqrt(v)
        spread *= 1 / math.sqrt(1 - keep_v**t)
        spread += group["eps"]
        step = m / spread
        step *= group["lr"] / (1 - keep_m**t)
        p -= step


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
