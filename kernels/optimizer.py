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
from minidl.kernels.elementwise import (
    alike,
    as_written,
    fits,
    launch_naive,
    launch_rows,
    order_of,
)

SOURCE = source_of(folder() / "optimizer.cu")

Names = tuple[str, ...]


def _naive(kernel: str, *arrays: Array, rates: Any, names: Names, in_place: bool = False) -> Any:
    """Run a kernel on arrays in the order of their axes, then write back if it was in place."""
    given = dict(zip(names, map(as_written, arrays), strict=True))
    old = {name: array for name, array in zip(names, arrays, strict=True) if name != "grad"}
    order = tuple(range(arrays[0].ndim))
    new = {f"new_{name}": alike(array, order) for name, array in old.items()}
    launch_naive(kernel, **given, **new, rates=rates, S=arrays[0].size)
    if not in_place:
        return tuple(new.values())
    for array, result in zip(old.values(), new.values(), strict=True):
        array[...] = result
    return tuple(old.values())


def _rows(kernel: str, *arrays: Array, rates: Any, names: Names, in_place: bool = False) -> Any:
    order = order_of(*arrays)
    assert order is not None
    given = dict(zip(names, arrays, strict=True))
    new = {f"new_{name}": array if in_place else alike(array, order)
           for name, array in given.items() if name != "grad"}
    launch_rows(kernel, SOURCE, order, **given, **new, rates=rates, S=arrays[0].size)
    return tuple(new.values())


def _fits(*arrays: Array, **_: Any) -> str:
    return "kernels do not know AMSGrad" if len(arrays) > 4 else fits(*arrays)


_ADAM, _MOMENTUM = ("p", "grad", "m", "v"), ("p", "grad", "v")

ADAM = Ladder("adam", [
    Rung("naive", _naive, names=_ADAM),
    Rung("packs", _rows, fits=_fits, native=True, names=_ADAM),
])

MOMENTUM = Ladder("momentum", [
    Rung("naive", _naive, names=_MOMENTUM),
    Rung("packs", _rows, fits=fits, native=True, names=_MOMENTUM),
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
