"""RMSprop: steps divided by the recent size of the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.compute.fast.blocks import in_blocks
from minidl.errors import ArgumentError
from minidl.optim.optimizer import Optimizer, remembered


class RMSprop(Optimizer):
    """p <- p - lr grad / (sqrt(running mean of grad^2) + eps).

    Parameters
    ----------
    params : iterable of Tensors or dicts
    lr : float
    alpha : float
        Share of the running mean that is kept.
    eps : float
    weight_decay : float
        This times p is added to the gradient.
    momentum : float
        Share of the last step that is kept.
    centered : bool
        Divide by the deviation from the running mean of the gradient (Graves
        2013, "Generating sequences with recurrent neural networks", eq. 38-45).

    Notes
    -----
    Source: Tieleman & Hinton 2012, lecture 6.5 of "Neural networks for machine
    learning".
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not 0 <= group["alpha"] <= 1:
            raise ArgumentError(f"RMSprop: alpha lies between 0 and 1, received {group['alpha']}")

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        rate, decay, alpha, momentum = (
            group[name] for name in ("lr", "weight_decay", "alpha", "momentum")
        )
        names = ["square_avg", *["grad_avg"] * group["centered"]]
        names += ["momentum_buffer"] if momentum else []
        memory = [remembered(state, name, p) for name in names]
        blocks = in_blocks(p, grad, *memory)
        for p, grad, squares, *others in blocks:
            if decay:
                grad = grad + decay * p
            squares *= alpha
            squares += (1 - alpha) * grad * grad
            spread = squares
            if group["centered"]:
                mean = others[0]
                mean += (1 - alpha) * (grad - mean)
                spread = squares - mean * mean
            step = grad / (xp_of(p).sqrt(spread) + group["eps"])
            if momentum:
                velocity = others[-1]
                velocity *= momentum
                velocity += step
                step = velocity
            p -= rate * step
