"""Parameter: a Tensor that training changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.compute.arrays import Array, xp_of
from minidl.tensor import Tensor, as_tensor, default_dtype


class Parameter(Tensor):
    """A leaf that wants a gradient, and that a Module registers when it is assigned.

    Parameters
    ----------
    data : Tensor, array, or (nested) list of numbers
        Memory is shared, unless the array is read-only.
    requires_grad : bool
        False for a parameter that is to stay as it is.

    Raises
    ------
    DtypeError
        If a gradient is wanted for numbers that are not floating-point.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(writable(as_tensor(data).data))
        if requires_grad:
            self.requires_grad_()

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles get a leaf of their own: a copied Node would still send
        # its gradients to the Tensor that it was made for.
        return Parameter, (self.data, self.requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


def forget(parameters: Iterable[Tensor], set_to_none: bool = True) -> None:
    """Forget gradients, or fill those that there are with zeros, outside of any graph."""
    for p in parameters:
        if p.grad is not None:
            p.grad = None if set_to_none else Tensor(xp_of(p.data).zeros_like(p.data))


def unfilled(*shape: int, dtype: Any = None) -> Parameter:
    """Make a Parameter of this shape, to be filled by one of ``minidl.nn.init``."""
    return Parameter(np.zeros(shape, default_dtype if dtype is None else dtype))


def writable(array: Array) -> Array:
    """Return the array, or a copy if it is read-only (CuPy has no such arrays)."""
    return array if getattr(array.flags, "writeable", True) else array.copy()
