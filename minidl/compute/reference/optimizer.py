"""Steps of optimisers: what becomes of a parameter p and of what is remembered of earlier steps.

All arrays have one shape. The results take the place of the arguments if ``in_place``.
"""

from __future__ import annotations

from typing import NamedTuple

from minidl.compute.arrays import Array, xp_of


class AdamRates(NamedTuple):
    """The numbers of a step of Adam.

    Attributes
    ----------
    decay : float
        This times p is added to the gradient.
    share_m, keep_v, share_v : float
        Share of the gradient in the new m, of v and of the gradient's square in the new v.
    keep_p : float
        Share of p that is kept: below 1 where its decay passes the gradient by.
    rate : float
        The learning rate, corrected for m, which started at 0.
    scale : float
        What the root of v is multiplied by, as v started at 0.
    eps : float
    """

    decay: float
    share_m: float
    keep_v: float
    share_v: float
    keep_p: float
    rate: float
    scale: float
    eps: float


class MomentumRates(NamedTuple):
    """The numbers of a step of gradient descent with momentum.

    Attributes
    ----------
    decay : float
        This times p is added to the gradient.
    keep, share : float
        Shares of the old velocity and of the gradient in the new one.
    rate : float
        The learning rate.
    ahead, turn : float
        Shares of the gradient and of the new velocity in the step.
    """

    decay: float
    keep: float
    share: float
    rate: float
    ahead: float
    turn: float


def adam(
    p: Array, grad: Array, m: Array, v: Array, *largest: Array, rates: AdamRates,
    in_place: bool = False,
) -> tuple[Array, ...]:
    """Return p, m and v after a step along m / (sqrt(v) + eps).

    AMSGrad divides by ``largest``, the largest v so far, in the place of v, and returns it, too.
    """
    if not in_place:
        p, m, v = p.copy("K"), m.copy("K"), v.copy("K")
        largest = tuple(array.copy("K") for array in largest)
    if rates.decay:
        grad = grad + rates.decay * p
    if rates.keep_p != 1:
        p *= rates.keep_p
    m += rates.share_m * (grad - m)
    v *= rates.keep_v
    v += rates.share_v * grad * grad
    top = v
    for top in largest:
        xp_of(p).maximum(top, v, out=top)
    spread = xp_of(p).sqrt(top)
    spread *= rates.scale
    spread += rates.eps
    step = m / spread
    step *= rates.rate
    p -= step
    return p, m, v, *largest


def momentum(
    p: Array, grad: Array, v: Array, rates: MomentumRates, in_place: bool = False
) -> tuple[Array, Array]:
    """Return p and v after a step along v, or somewhat ahead of it."""
    if not in_place:
        p, v = p.copy("K"), v.copy("K")
    if rates.decay:
        grad = grad + rates.decay * p
    v *= rates.keep
    v += rates.share * grad
    step = rates.ahead * grad + rates.turn * v if rates.ahead else v
    p -= rates.rate * step
    return p, v
