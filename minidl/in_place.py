"""Arrays changed in place: ``x += y``, ``x[mask] = v``, ``x.zero_()``.

Outside the graph a Tensor is its array, which these change, saying so (``minidl.compute.changes``).
In the graph a change in place would be a new value that nothing remembers the making of: ``x += y``
gives a new Tensor there, as x = x + y does, and writing elements is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl.functional as F
from minidl import autograd
from minidl.compute.arrays import to_device
from minidl.compute.changes import changed
from minidl.errors import DtypeError, GradientError, ShapeError, message
from minidl.functional.index import plain_index
from minidl.tensor import Tensor, as_tensor


def _updated(sign: str, function: Callable[..., Tensor]) -> Callable[[Tensor, Any], Tensor]:
    """Make the method behind an operator such as ``+=``."""

    def method(self: Tensor, other: Any) -> Tensor:
        recorded = isinstance(other, Tensor) and other.node is not None
        if autograd.is_recording() and (recorded or self.node is not None):
            if self.node is not None and self.is_leaf:
                raise GradientError(
                    message(
                        f"{sign}: this leaf wants a gradient, and would be changed in place",
                        hint="do so inside `with minidl.no_grad():`, or write x = x + y.",
                    )
                )
            return function(self, other)
        result = function(self.detach(), other)
        if result.shape != self.shape or not np.can_cast(result.dtype, self.dtype, "same_kind"):
            raise ShapeError(
                message(
                    f"{sign}: the result does not fit into the array that is changed",
                    f"it has shape {self.shape}, {self.dtype}; "
                    f"the result has shape {result.shape}, {result.dtype}",
                )
            )
        _write(sign, self, ..., result)
        return self

    return method


def assign(x: Tensor, index: Any, value: Any) -> None:
    """Write x[index] = value into the array of x, which takes no part in the graph.

    Raises
    ------
    GradientError
        If x is in the graph, or the value is, and Ops are being recorded.
    DtypeError
        If x holds integers, and the value floats.
    ShapeError
        If the value does not fit into x[index].
    """
    value = as_tensor(value)
    if autograd.is_recording() and (x.node is not None or value.node is not None):
        raise _refused(x)
    if not np.can_cast(value.dtype, x.dtype, "same_kind"):
        raise DtypeError(
            message(
                f"x[...] = v: values of {value.dtype} would be cut off in an array of {x.dtype}",
                hint=f"write v.astype(numpy.{x.dtype}), or convert x first.",
            )
        )
    _write("x[...] = v", x, plain_index(x, index), value)


def _refused(x: Tensor) -> GradientError:
    if x.node is None:
        return GradientError(
            message(
                "x[...] = v: v is in the graph, and x would not be",
                hint="write v.detach(), or make x of its parts: minidl.where(mask, v, x), "
                "minidl.cat, minidl.stack.",
            )
        )
    op = x.node.op
    what = "wants a gradient" if op is None else f"is the result of {op.name}"
    inside = "do so inside `with minidl.no_grad():`, or " if op is None else ""
    return GradientError(
        message(
            f"x[...] = v: x {what}, and would be changed in place",
            hint=f"{inside}make a new Tensor: x = minidl.where(mask, v, x), or minidl.cat and "
            "minidl.stack of its parts.",
        )
    )


def _write(by: str, x: Tensor, index: Any, value: Tensor) -> None:
    try:
        x.data[index] = to_device(value.data, x.device)
    except IndexError as cause:
        raise IndexError(f"{by}: x has shape {x.shape}: {cause}") from None
    except ValueError as cause:
        raise ShapeError(
            message(
                f"{by}: the value cannot be written there",
                f"x has shape {x.shape}, the value {value.shape}: {cause}",
                hint="write x = x.clone() first." if "read-only" in str(cause) else "",
            )
        ) from None
    changed(x.data, by)


def _fill_(self: Tensor, value: Any) -> Tensor:
    assign(self, ..., value)
    return self


METHODS: dict[str, Callable[..., Any]] = {
    "__iadd__": _updated("+=", F.add),
    "__isub__": _updated("-=", F.sub),
    "__imul__": _updated("*=", F.mul),
    "__itruediv__": _updated("/=", F.div),
    "__setitem__": assign,
    "fill_": _fill_,
    "zero_": lambda self: _fill_(self, 0),
}
"""The methods that change a Tensor's array."""


def attach() -> None:
    """Give the methods of the table to Tensor."""
    for name, method in METHODS.items():
        setattr(Tensor, name, method)
