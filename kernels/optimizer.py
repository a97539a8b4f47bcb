"""Launches optimizer.cu: the steps of Adam and of gradient descent with momentum.

The names, arguments and results are those of ``minidl.compute.reference.optimizer``.
"""

from __future__ import annotations

from typing import Any

from minidl.compute import reference
from minidl.compute.arrays import Array
from minidl.compute.reference.optimizer import AdamRates, MomentumRates
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.source import folder, source_of
from minidl.kernels.elementwise import by_number, by_rows, fits

SOURCE = source_of(folder() / "optimizer.cu")

def _fits(*arrays: Array, **_: Any) -> str:
    return "kernels do not know AMSGrad" if len(arrays) > 4 else fits(*arrays)


_ADAM: dict[str, Any] = {
    "names": ("p", "grad", "m", "v"), "results": ("new_p", "new_m", "new_v"),
}
_MOMENTUM: dict[str, Any] = {"names": ("p", "grad", "v"), "results": ("new_p", "new_v")}

ADAM = Ladder("adam", [
    Rung("naive", by_number, **_ADAM),
    Rung("packs", by_rows, fits=_fits, native=True, source=SOURCE, **_ADAM),
])

MOMENTUM = Ladder("momentum", [
    Rung("naive", by_number, **_MOMENTUM),
    Rung("packs", by_rows, fits=fits, native=True, source=SOURCE, **_MOMENTUM),
])


def adam(
    p: Array, grad: Array, m: Array, v: Array, *largest: Array, rates: AdamRates,
    in_place: bool = False,
) -> tuple[Array, ...]:
    """Take a step of Adam; p, m and v after it. AMSGrad's, with ``largest``, has no kernel."""
    if largest:
        return reference.adam(p, grad, m, v, *largest, rates=rates, in_place=in_place)
    return ADAM.climb(p, grad, m, v, rates=rates, in_place=in_place)


def momentum(
    p: Array, grad: Array, v: Array, rates: MomentumRates, in_place: bool = False
) -> tuple[Array, Array]:
    """Take a step of gradient descent with momentum; p and v after it."""
    return MOMENTUM.climb(p, grad, v, rates=rates, in_place=in_place)
