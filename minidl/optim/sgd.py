"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.fast.blocks import in_blocks
from minidl.compute.passes import pass_over
from minidl.compute.reference.optimizer import MomentumRates
from minidl.errors import ArgumentError
from minidl.optim.optimizer import Optimizer, remembered


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
        rate, decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
        if not momentum:
            for part, slope in in_blocks(p, grad):
                part -= rate * (slope + decay * part if decay else slope)
            return
        moving = "momentum_buffer" in state
        velocity, ahead = remembered(state, "momentum_buffer", p), bool(group["nesterov"])
        rates = MomentumRates(
            decay=decay, keep=momentum if moving else 0.0,
            share=1 - group["dampening"] if moving else 1.0,
            rate=rate, ahead=float(ahead), turn=momentum if ahead else 1.0,
        )
        grad = grad.astype(p.dtype, copy=False)
        pass_over(reference.momentum, p, grad, velocity, rates=rates, in_place=True)
