"""NumPy's functions, called with Tensors: its operators work, its other functions are refused.

``array * x`` is np.multiply(array, x) to NumPy, which asks the Tensor what that is (NEP 13). What
computes element by element, np.exp(x), or reduces, np.mean(x), is refused with the name to use, as
it would leave the graph without a word. What wants an array (np.stack, np.argmax) gets it, if the
Tensor is outside the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import minidl.functional as F
from minidl.errors import DtypeError, GradientError, message
from minidl.tensor import Tensor, as_tensor

ARITHMETIC: dict[str, Callable[[Any, Any], Tensor]] = {
    "add": F.add, "subtract": F.sub, "multiply": F.mul, "divide": F.div, "power": F.pow,
    "matmul": F.matmul,
}
"""The functions behind operators between an array and a Tensor, by the names of NumPy's ufuncs."""

MIRRORED: dict[str, Callable[[Any, Any], Any]] = {
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.gt, "less_equal": operator.ge,
    "greater": operator.lt, "greater_equal": operator.le, "bitwise_and": operator.and_,
    "bitwise_or": operator.or_, "bitwise_xor": operator.xor,
}
"""The operators to ask the Tensor on the right for, by the names of the ufuncs: a < x is x > a."""

OURS = {
    "absolute": "abs", "fabs": "abs", "amax": "max", "amin": "min", "concatenate": "cat",
    "expand_dims": "unsqueeze", "negative": "neg", "swapaxes": "transpose",
}
"""minidl's names of functions, by NumPy's, where they differ."""

REDUCTIONS = ("all", "any", "amax", "amin", "max", "mean", "min", "prod", "std", "sum", "var")
"""The functions that NumPy makes of methods of these names."""

ANSWERED = ("shape", "ndim", "size")
"""The functions that ask for no value, and are answered in the graph, too."""


def _ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """Answer np.multiply(array, self) and the other operators; refuse np.exp(self)."""
    name = ufunc.__name__
    if method == "__call__" and not options:
        if name in ARITHMETIC:
            return ARITHMETIC[name](*inputs)
        if name in MIRRORED:
            first, second = inputs
            return MIRRORED[name](as_tensor(second), first)
    if options.get("out") is not None:
        raise DtypeError(
            message(f"numpy.{name}: its result is a Tensor, which does not go into an array",
                    hint="write a = a + x for a += x, or x.detach().numpy() for x.")
        )
    raise _refused(name)


def _function(
    self: Tensor, function: Any, types: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Refuse np.mean(self), and let the functions that want an array have it."""
    name = function.__name__
    if name in ANSWERED:
        return function(*_walked(args, lambda x: x.data), **kwargs)
    if name in REDUCTIONS:
        raise _refused(name)
    whole = f"{function.__module__}.{name}".removeprefix("numpy.")
    try:
        args, kwargs = _walked(args, Tensor.numpy), _walked(dict(kwargs), Tensor.numpy)
    except GradientError:
        raise _refused(name, whole) from None
    return function(*args, **kwargs)


def _refused(name: str, whole: str = "") -> DtypeError:
    """Make the error; ``whole`` is the name with that of its module, where it has one."""
    ours = OURS.get(name, name)
    known = f"write minidl.functional.{ours}(x), or " if hasattr(F, ours) else ""
    known = known or (f"write x.{ours}(), or " if hasattr(Tensor, ours) else "")
    return DtypeError(
        message(f"numpy.{whole or name}: a Tensor is not a NumPy array",
                hint=f"{known}numpy.{whole or name}(x.detach().numpy()), which leaves the graph.")
    )


def _walked(value: Any, of_tensor: Callable[[Tensor], Any]) -> Any:
    """Replace the Tensors in lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return of_tensor(value)
    if isinstance(value, list | tuple):
        walked = [_walked(v, of_tensor) for v in value]
        return walked if isinstance(value, list) else tuple(walked)
    if isinstance(value, dict):
        return {key: _walked(v, of_tensor) for key, v in value.items()}
    return value


def attach() -> None:
    """Give NumPy's two questions to Tensor."""
    setattr(Tensor, "__array_ufunc__", _ufunc)  # noqa: B010  (mypy knows no such attribute)
    setattr(Tensor, "__array_function__", _function)  # noqa: B010
