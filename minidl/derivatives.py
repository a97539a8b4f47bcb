"""Derivatives of functions, whole: Jacobians, Hessians, and their products with vectors.

The names, arguments and results are those of torch.autograd.functional. All of them walk back
through the function; what a function of Tensors is differentiated by, it must get as arguments.

    J = jacobian(f, x)              J[i..., j...] = d f(x)[i...] / d x[j...]
    H = hessian(f, x)               H[i..., j...] = d^2 f(x) / d x[i...] d x[j...], of one number
    y, g = vjp(f, x, v)             g = v J        one walk back
    y, t = jvp(f, x, v)             t = J v        a walk back through a walk back
    y, h = hvp(f, x, v)             h = H v        the same
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl.autograd import enable_grad, grad
from minidl.compute.arrays import xp_of
from minidl.errors import ArgumentError, ShapeError, message
from minidl.functional.pointwise import mul
from minidl.functional.reduce import sum
from minidl.functional.shape import reshape, stack
from minidl.tensor import Tensor, as_tensor

Function = Callable[..., Any]
Tensors = Tensor | Sequence[Tensor]
"""One Tensor, or several; results come in the same form."""


def jacobian(func: Function, inputs: Any, create_graph: bool = False) -> Any:
    """Return the derivative of every element of the output by every element of the inputs.

    Parameters
    ----------
    func : function of Tensors, which returns a Tensor
    inputs : Tensor or sequence of Tensors
    create_graph : bool
        Whether the result can be differentiated again, also by ``inputs``.

    Returns
    -------
    Tensor, shape (*output, *input), or a tuple of them, one for each input

    Raises
    ------
    ArgumentError
        If the function does not return a Tensor.
    """
    xs, several = _leaves(inputs, create_graph)
    with enable_grad():
        y = _output("jacobian", func, xs)
    rows = [_gradients(y, xs, _one_hot(y, i), create_graph) for i in range(y.size)]
    found = tuple(
        reshape(stack([row[k] for row in rows]), (*y.shape, *x.shape))
        if rows else Tensor(np.zeros((*y.shape, *x.shape), x.dtype))
        for k, x in enumerate(xs)
    )
    return found if several else found[0]


def hessian(func: Function, inputs: Any, create_graph: bool = False) -> Any:
    """Return the second derivatives of a function whose output is one number.

    Returns
    -------
    Tensor, shape (*input, *input), or for several inputs a tuple of tuples: [i][j] is the
    derivative by input i, then by input j

    Raises
    ------
    ShapeError
        If the output is not one number.
    """
    _, several = _leaves(inputs, True)

    def slope(number: int) -> Function:
        def by_one(*xs: Tensor) -> Tensor:
            return _gradients(_scalar("hessian", func, xs), xs, None, True)[number]

        return by_one

    if not several:
        return jacobian(slope(0), inputs, create_graph)
    return tuple(jacobian(slope(i), inputs, create_graph) for i in range(len(inputs)))


def vjp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """Return the output, and v J: the gradients of the inputs for the weights v of the output.

    ``v`` has the output's shape; it may be left out where the output is one number.
    """
    xs, several = _leaves(inputs, create_graph)
    with enable_grad():
        y = _output("vjp", func, xs)
    found = _gradients(y, xs, v, create_graph)
    return (y if create_graph else y.detach()), (found if several else found[0])


def jvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """Return the output, and J v: how it changes when the inputs move along v.

    ``v`` has the inputs' form and shapes; it may be left out where there is one number of them.
    """
    xs, several = _leaves(inputs, create_graph)
    along = _directions("jvp", xs, v, several)
    with enable_grad():
        y = _output("jvp", func, xs)
        # u J is linear in u, whatever u is; its derivative by u, along v, is J v.
        u = Tensor(xp_of(y.data).zeros_like(y.data)).requires_grad_()
        back = _gradients(y, xs, u, True)
        moved = sum(stack([sum(mul(g, d)) for g, d in zip(back, along, strict=True)]))
        found = _gradients(moved, (u,), None, create_graph)[0]
    return (y if create_graph else y.detach()), found


def hvp(func: Function, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Any, Any]:
    """Return the output, one number, and H v: how the gradient changes when the inputs move.

    ``v`` has the inputs' form and shapes.

    Raises
    ------
    ShapeError
        If the output is not one number.
    """
    xs, several = _leaves(inputs, create_graph)
    along = _directions("hvp", xs, v, several)
    with enable_grad():
        y = _scalar("hvp", func, xs)
        slopes = _gradients(y, xs, None, True)
        moved = sum(stack([sum(mul(g, d)) for g, d in zip(slopes, along, strict=True)]))
        found = _gradients(moved, xs, None, create_graph)
    return (y if create_graph else y.detach()), (found if several else found[0])


def _leaves(inputs: Any, create_graph: bool) -> tuple[tuple[Tensor, ...], bool]:
    """Make inputs that want a gradient; with ``create_graph`` they stay in the caller's graph."""
    several = isinstance(inputs, (tuple, list))
    given = tuple(map(as_tensor, inputs if several else (inputs,)))
    keep = [x if create_graph and x.node is not None else x.detach().requires_grad_()
            for x in given]
    return tuple(keep), several


def _output(who: str, func: Function, xs: Sequence[Tensor]) -> Tensor:
    y = func(*xs)
    if not isinstance(y, Tensor):
        raise ArgumentError(
            message(
                f"{who}: the function must return a Tensor",
                f"received {type(y).__name__}",
                hint="for several outputs, differentiate functions that return one each.",
            )
        )
    return y


def _scalar(who: str, func: Function, xs: Sequence[Tensor]) -> Tensor:
    y = _output(who, func, xs)
    if y.size != 1:
        raise ShapeError(
            message(f"{who}: the function must return one number", f"received shape {y.shape}",
                    hint="reduce it, for instance by .sum().")
        )
    return y


def _gradients(
    y: Tensor, xs: Sequence[Tensor], v: Any, create_graph: bool
) -> tuple[Tensor, ...]:
    """Return v J for each input; 0 where the output does not depend on it."""
    if y.node is None:
        found: tuple[Tensor | None, ...] = (None,) * len(xs)
    else:
        found = grad(y, list(xs), v, create_graph, allow_unused=True)
    zeros = (Tensor(xp_of(x.data).zeros_like(x.data)) for x in xs)
    return tuple(z if g is None else g for g, z in zip(found, zeros, strict=True))


def _one_hot(y: Tensor, i: int) -> Tensor:
    ones = xp_of(y.data).zeros(y.size, y.dtype)
    ones[i] = 1
    return Tensor(ones.reshape(y.shape))


def _directions(who: str, xs: Sequence[Tensor], v: Any, several: bool) -> tuple[Tensor, ...]:
    if v is None:
        if any(x.size != 1 for x in xs):
            raise ArgumentError(f"{who}: v may be left out only where each input is one number")
        return tuple(Tensor(xp_of(x.data).ones_like(x.data)) for x in xs)
    given = tuple(map(as_tensor, v if several else (v,)))
    if [d.shape for d in given] != [x.shape for x in xs]:
        raise ShapeError(
            message(f"{who}: v must have the shapes of the inputs",
                    f"the inputs have {[x.shape for x in xs]}, v has {[d.shape for d in given]}")
        )
    return given
