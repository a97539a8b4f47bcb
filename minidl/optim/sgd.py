"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minidl.compute.arrays import Array
from minidl.errors import ArgumentError
from minidl.optim.optimizer import Optimizer


class SGD(Optimizer):
    """p <- p - lr v, where v <- momentum v + (1 - dampening) grad.

    Parameters
    ----------
    params : iterable of Tensors or dicts
    lr : float
    momentum : float
        Share of the last step that is kept.
    dampening : float
        Share of the gradient that does not join the momentum, from the second step on.
    weight_decay : float
        This times p is added to the gradient.
    nesterov : bool
        Look one step ahead (Sutskever et al. 2013, "On the importance of
        initialization and momentum in deep learning", section 2).
    maximize : bool
        Go up, not down.

    Raises
    ------
    ArgumentError
        If ``nesterov`` is asked for without momentum or with dampening.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ArgumentError("SGD: nesterov needs a momentum, and no dampening")

    def update(self, p: Array, grad: Array, state: dict[str, Any], group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * p
        if momentum:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = grad.copy()
            else:
                state["momentum_buffer"] *= momentum
                state["momentum_buffer"] += (1 - group["dampening"]) * grad
            velocity = state["momentum_buffer"]
            grad = grad + momentum * velocity if group["nesterov"] else velocity
        p -= group["lr"] * grad
