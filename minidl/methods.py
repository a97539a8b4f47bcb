"""The methods that PyTorch's and NumPy's users bring, beyond those that Tensor spells out.

Each is one call, so they stand in a table: the functions of one Tensor under their own names, and
what has another name here or is about the array alone. ``attach`` gives them to Tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl.functional as F
from minidl.compute.arrays import xp_of
from minidl.errors import GradientError, message
from minidl.functional.tile import repeat
from minidl.naming import either_name
from minidl.tensor import Tensor, as_tensor

Method = Callable[..., Any]

FUNCTIONS = (
    "add", "argmin", "argsort", "bmm", "chunk", "clamp", "cos", "cumsum", "diagonal", "div", "erf",
    "gather", "log1p", "log_softmax", "logsumexp", "matmul", "maximum", "minimum", "moveaxis",
    "mul", "neg", "norm", "pow", "prod", "relu", "sigmoid", "sign", "sin", "softmax", "sort",
    "split", "square", "std", "sub", "take", "tanh", "topk",
)
"""The functions of ``minidl.functional`` that are methods of their first argument, too."""


def _of_array(name: str) -> Method:
    """Make a method that asks the array, and gives a Tensor without a gradient."""

    def method(self: Tensor) -> Tensor:
        return Tensor(getattr(xp_of(self.data), name)(self.data))

    return method


def _reduced(name: str) -> Method:
    @either_name
    def method(self: Tensor, axis: Any = None, keepdims: bool = False) -> Tensor:
        xp = xp_of(self.data)
        return Tensor(xp.asarray(getattr(xp, name)(self.data, axis=axis, keepdims=keepdims)))

    return method


def _listed(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Read numbers that are given one by one, or as one sequence."""
    return tuple(given[0]) if given and isinstance(given[0], tuple | list) else given


def _bits(name: str) -> Method:
    def method(self: Tensor, other: Any) -> Tensor:
        return Tensor(getattr(xp_of(self.data), name)(self.data, as_tensor(other).data))

    return method


def _masked_fill(self: Tensor, mask: Any, value: Any) -> Tensor:
    """Put a value where the mask holds; of bools whether it is not 0, as they stay bools."""
    return F.where(mask, as_tensor(value) != 0 if self.dtype == bool else value, self)


def _dlpack(self: Tensor, **options: Any) -> Any:
    if self.node is not None:
        raise GradientError(
            message("__dlpack__: this Tensor is in the graph, and its reader would not be",
                    hint="hand over x.detach().")
        )
    return self.data.__dlpack__(**options)


OTHERS: dict[str, Method] = {
    "view": Tensor.reshape,
    "t": lambda self: self.T,
    "numel": lambda self: self.size,
    "dim": lambda self: self.ndim,
    "float": lambda self: self.astype(np.float32),
    "double": lambda self: self.astype(np.float64),
    "half": lambda self: self.astype(np.float16),
    "long": lambda self: self.astype(np.int64),
    "cpu": lambda self: self.to("cpu"),
    "cuda": lambda self: self.to("cuda"),
    "contiguous": lambda self: self,  # layouts are the business of the code that fills arrays
    "masked_fill": _masked_fill,
    "repeat": lambda self, *reps: repeat(self, _listed(reps)),
    "flip": lambda self, *dims: F.flip(self, _listed(dims)),
    "amax": lambda self, dim=None, keepdim=False: F.max(self, axis=dim, keepdims=keepdim),
    "amin": lambda self, dim=None, keepdim=False: F.min(self, axis=dim, keepdims=keepdim),
    "all": _reduced("all"),
    "any": _reduced("any"),
    "isnan": _of_array("isnan"),
    "isfinite": _of_array("isfinite"),
    "isinf": _of_array("isinf"),
    "__pos__": lambda self: self,
    "__invert__": _of_array("invert"),
    "__and__": _bits("bitwise_and"),
    "__or__": _bits("bitwise_or"),
    "__xor__": _bits("bitwise_xor"),
    "__floordiv__": _bits("floor_divide"),
    "__mod__": _bits("remainder"),
    "__format__": lambda self, spec: format(self.item() if spec else repr(self), spec),
    "__round__": lambda self, digits=0: round(self.item(), digits),
    "__dlpack__": _dlpack,
    "__dlpack_device__": lambda self: self.data.__dlpack_device__(),
}
"""The methods that are no function's name, or about the array alone."""


def attach() -> None:
    """Give the methods of the tables to Tensor."""
    for name in FUNCTIONS:
        setattr(Tensor, name, getattr(F, name))
    for name, method in OTHERS.items():
        setattr(Tensor, name, method)
