"""Adagrad: each weight's step shrinks with the gradients it has seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.compute.fast.blocks import in_blocks
from minidl.optim.optimizer import Optimizer, remembered


class Adagrad(Optimizer):
    """p <- p - lr / (1 + t lr_decay) grad / (sqrt(sum of grad^2) + eps).

    Parameters
    ----------
    params : iterable of Tensors or dicts
    lr, lr_decay : float
    weight_decay : float
        This times p is added to the gradient.
    initial_accumulator_value : float
        The value that the sum of squares starts from.
    eps : float

    Notes
    -----
    Source: Duchi, Hazan & Singer 2011, "Adaptive subgradient methods", figure 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
            },
        )

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        decay = group["weight_decay"]
        memory = remembered(state, "sum", p, group["initial_accumulator_value"])
        rate = group["lr"] / (1 + state.get("step", 0) * group["lr_decay"])
        state["step"] = state.get("step", 0) + 1
        blocks = in_blocks(p, grad, memory)
        for p, grad, squares in blocks:
            if decay:
                grad = grad + decay * p
            squares += grad * grad
            p -= rate * grad / (xp_of(p).sqrt(squares) + group["eps"])
