"""Steps of optimisers in blocks: what they compute in between stays in the cache."""

from __future__ import annotations

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.fast.blocks import in_blocks
from minidl.compute.reference.optimizer import AdamRates, MomentumRates


def adam(
    p: Array, grad: Array, m: Array, v: Array, *largest: Array, rates: AdamRates,
    in_place: bool = False,
) -> tuple[Array, ...]:
    """Take a step of Adam; see ``minidl.compute.reference.optimizer``."""
    memory = (m, v, *largest)
    if not in_place:
        p, memory = p.copy("K"), tuple(array.copy("K") for array in memory)
    for part in in_blocks(p, grad, *memory):
        reference.adam(*part, rates=rates, in_place=True)
    return p, *memory


def momentum(
    p: Array, grad: Array, v: Array, rates: MomentumRates, in_place: bool = False
) -> tuple[Array, Array]:
    """Take a step of gradient descent with momentum; see ``minidl.compute.reference.optimizer``."""
    if not in_place:
        p, v = p.copy("K"), v.copy("K")
    for p_part, grad_part, v_part in in_blocks(p, grad, v):
        reference.momentum(p_part, grad_part, v_part, rates, in_place=True)
    return p, v
