"""Parameter: a Tensor that training changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.compute.arrays import Array, is_array, xp_of
from minidl.compute.counts import wholes
from minidl.errors import ArgumentError, DtypeError, message
from minidl.tensor import Tensor, as_tensor, default_dtype


def _set_data(p: Parameter, value: Any) -> None:
    """Take another array, or a Tensor's, as PyTorch does: of any shape, and shared."""
    array = value.data if isinstance(value, Tensor) else value
    if not is_array(array):
        raise ArgumentError(
            message(
                "Parameter.data: takes a Tensor or an array",
                f"received {type(value).__name__}",
                hint="write p.data = minidl.tensor([1.0, 2.0]), or p.data[...] = 0 to fill it.",
            )
        )
    node = getattr(p, "node", None)  # there is none yet while p is being made
    if node is not None:
        if array.dtype.kind != "f":
            raise DtypeError(
                message(
                    f"Parameter.data: {array.dtype} has no gradient, and this parameter wants one",
                    hint="convert it first: .astype(numpy.float32).",
                )
            )
        node.shape, node.dtype = array.shape, array.dtype  # gradients arrive in these
    _SLOT.__set__(p, writable(array))


_SLOT = Tensor.__dict__["data"]
"""Where every Tensor has its array: read without a call, which every op does."""


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

    # A property where Tensor has a plain attribute.
    data = property(_SLOT.__get__, _set_data, doc=_set_data.__doc__)

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


def unfilled(*shape: int, dtype: Any = None, taps_first: bool = False) -> Parameter:
    """Make a Parameter of this shape, to be filled by one of ``minidl.nn.init``.

    With ``taps_first`` a weight (O, C, K, L) lies in memory as (K, L, C, O): the matrices of a
    convolution, tap by tap, as the CPU's code multiplies by them and sums their gradient.
    """
    kind = default_dtype if dtype is None else dtype
    shape = wholes("a size of a layer's parameter", shape)
    if taps_first:
        o, c, k, l = shape
        return Parameter(np.zeros((k, l, c, o), kind).transpose(3, 2, 0, 1))
    return Parameter(np.zeros(shape, kind))


def writable(array: Array) -> Array:
    """Return the array, or a copy if it is read-only (CuPy has no such arrays)."""
    return array if getattr(array.flags, "writeable", True) else array.copy()
