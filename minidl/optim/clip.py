"""Clipping gradients: by their norm, by value, and by a value that follows the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

from minidl.compute.arrays import xp_of
from minidl.compute.changes import changed
from minidl.errors import ArgumentError
from minidl.tensor import Tensor


def clip_grad_norm_(
    parameters: Iterable[Tensor], max_norm: float, norm_type: float = 2.0
) -> float:
    """Scale all gradients together so that their norm is at most ``max_norm``.

    Parameters
    ----------
    parameters : iterable of Tensors
    max_norm : float
    norm_type : float
        p of the p-norm; infinity for the largest element.

    Returns
    -------
    float
        The norm before clipping.
    """
    _positive("clip_grad_norm_", max_norm=max_norm)
    grads = [p.grad.data for p in _list(parameters) if p.grad is not None]
    if not grads:
        return 0.0
    # Each array's share, then all of them read at once: a GPU is waited for one time.
    largest = norm_type == math.inf
    shares = [abs(g).max() if largest else (abs(g) ** norm_type).sum() for g in grads if g.size]
    read = xp_of(grads[0]).stack(shares).tolist() if shares else [0.0]
    norm = max(read) if largest else math.fsum(read) ** (1 / norm_type)
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for g in grads:
            g *= scale
            changed(g, "clip_grad_norm_")
    return norm


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Clip each element of each gradient to [-clip_value, clip_value]."""
    _positive("clip_grad_value_", clip_value=clip_value)
    for p in _list(parameters):
        if p.grad is not None:
            xp_of(p.grad.data).clip(p.grad.data, -clip_value, clip_value, out=p.grad.data)
            changed(p.grad.data, "clip_grad_value_")


def clip_grad_adjustable_(parameters: Iterable[Tensor], theta: float, lr: float) -> None:
    """Clip each element to [-theta / lr, theta / lr]: no step then exceeds theta.

    Source: Kim, Lee & Lee 2016, "Accurate image super-resolution using very deep
    convolutional networks", section 3.2.
    """
    _positive("clip_grad_adjustable_", theta=theta, lr=lr)
    clip_grad_value_(parameters, theta / lr)


def _list(parameters: Iterable[Tensor] | Tensor) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _positive(who: str, **settings: float) -> None:
    for name, value in settings.items():
        if not value > 0:
            raise ArgumentError(f"{who}: {name} must be positive, received {value}")
