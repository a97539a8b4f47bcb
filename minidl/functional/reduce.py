"""Reductions: many elements into one, along chosen axes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minidl.autograd import Op
from minidl.compute.arrays import Array, xp_of
from minidl.compute.counts import distinct, wholes
from minidl.compute.dtypes import total
from minidl.errors import ArgumentError, DtypeError, ShapeError, message
from minidl.functional.pointwise import (
    astype,
    exp,
    floating,
    maximum,
    minimum,
    sqrt,
    square,
    where,
)
from minidl.functional.shape import Permute, cat, reshape
from minidl.kinds import Linear
from minidl.naming import either_name
from minidl.tensor import Tensor, as_tensor

Axis = int | tuple[int, ...] | None


def axes_of(who: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """Sort the axes that are meant, counted from the front; None means all of them.

    Of a number, which has no axes, 0 and -1 mean none of them, as in PyTorch and NumPy.
    """
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    wanted = wholes(f"{who}: an axis", axis if isinstance(axis, (tuple, list)) else (axis,), None)
    if not ndim and wanted in ((0,), (-1,)):
        return ()
    for a in wanted:
        if not -ndim <= a < ndim:
            raise ArgumentError(
                message(f"{who}: axis {a} does not exist", f"x has {ndim} axes: 0 to {ndim - 1}")
            )
    return tuple(sorted(distinct(who, [a % ndim for a in wanted])))


class Sum(Linear):
    """Add along axes, which stay with size 1 or go; the adjoint repeats."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool):
        self.shape, self.axes, self.keepdims = shape, axes, keepdims
        self.kept = tuple([1 if a in axes else size for a, size in enumerate(shape)])

    def apply(self, x: Array) -> Array:
        return total(x, self.axes, self.keepdims)

    def adjoint(self, y: Array) -> Array:
        return xp_of(y).broadcast_to(y.reshape(self.kept), self.shape)


class Mean(Sum):
    """Sum along axes, divided by the number of elements less ``correction``."""

    def __init__(
        self, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool, correction: int = 0
    ):
        super().__init__(shape, axes, keepdims)
        n = math.prod([shape[a] for a in axes]) - correction
        self.share = 1 / n if n > 0 else math.nan

    def apply(self, x: Array) -> Array:
        return total(x, self.axes, self.keepdims, self.share)

    def adjoint(self, y: Array) -> Array:
        return super().adjoint(y * y.dtype.type(self.share))


@either_name
def sum(x: Any, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum along ``axis`` (an integer, a tuple, or None for all).

    Integers are summed in int64; a Tensor of bool counts its True elements. With a ``dtype`` x is
    converted to it first.
    """
    x = as_tensor(x) if dtype is None else astype(x, dtype)
    return Sum(x.data.shape, axes_of("sum", axis, x.data.ndim), keepdims)(x)


@either_name
def mean(x: Any, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Tensor:
    """Take the mean along ``axis``. With a ``dtype`` x is converted to it first."""
    x = _real("mean", x if dtype is None else astype(x, dtype))
    return Mean(x.data.shape, axes_of("mean", axis, x.data.ndim), keepdims)(x)


@either_name
def var(
    x: Any,
    axis: Axis = None,
    unbiased: bool = True,
    keepdims: bool = False,
    *,
    correction: int | None = None,
) -> Tensor:
    """Take the variance along ``axis``: the sum of squared deviations over (n - correction).

    As in PyTorch ``correction`` is 1 by default (the unbiased estimate), and 0 with
    ``unbiased=False``; NumPy's default is 0. ``var(x, False)`` is ``var(x, unbiased=False)``.
    """
    x = _real("var", x)
    along: Axis = None if isinstance(axis, bool) else axis
    if correction is None:
        correction = int(axis if isinstance(axis, bool) else unbiased)
    axes = axes_of("var", along, x.ndim)
    deviations = square(x - mean(x, axes, keepdims=True))
    return Mean(x.data.shape, axes, keepdims, correction)(deviations)


@either_name
def std(
    x: Any,
    axis: Axis = None,
    unbiased: bool = True,
    keepdims: bool = False,
    *,
    correction: int | None = None,
) -> Tensor:
    """Take the standard deviation along ``axis``, the square root of ``var``.

    Where all elements are equal, the gradient is taken to be 0.
    """
    variance = var(x, axis, unbiased, keepdims, correction=correction)
    equal = variance == 0
    return where(equal, variance, sqrt(where(equal, 1.0, variance)))


def _real(who: str, x: Any) -> Tensor:
    x = as_tensor(x)
    if x.dtype.kind != "f":
        raise DtypeError(
            message(
                f"{who}: x must be of a floating dtype",
                f"received {x.dtype}",
                hint="convert it first: x.astype(numpy.float32).",
            )
        )
    return x


class Extreme(Linear):
    """Read the largest (or smallest) element of ``example`` along axes; the adjoint places.

    Where it lies is found without a derivative; reading there is linear.
    """

    def __init__(self, who: str, example: Array, axes: tuple[int, ...], keepdims: bool):
        self.who = who
        rest = tuple([a for a in range(example.ndim) if a not in axes])
        self.last = Permute((*rest, *axes))  # the axes that are searched come last
        self.kept = tuple([example.shape[a] for a in rest])
        self.searched = tuple([example.shape[a] for a in axes])
        self.target = self.kept
        if keepdims:
            self.target = tuple([1 if a in axes else s for a, s in enumerate(example.shape)])
        self.places = getattr(self._rows(example), f"arg{who}")(axis=-1)[..., None]
        self.held = (self.places,)

    @property
    def name(self) -> str:
        return self.who.capitalize()

    def _rows(self, x: Array) -> Array:
        return self.last.apply(x).reshape(*self.kept, math.prod(self.searched))

    def apply(self, x: Array) -> Array:
        rows = self._rows(x)
        return xp_of(x).take_along_axis(rows, self.places, -1).reshape(self.target)

    def adjoint(self, y: Array) -> Array:
        xp = xp_of(y)
        rows = xp.zeros((*self.kept, math.prod(self.searched)), y.dtype)
        xp.put_along_axis(rows, self.places, y.reshape(*self.kept, 1), -1)
        return self.last.adjoint(rows.reshape((*self.kept, *self.searched)))


class Extremes(NamedTuple):
    """The elements that ``max`` or ``min`` found along one axis, and where."""

    values: Tensor
    indices: Tensor
    """Places along the axis, int64."""


def max(
    x: Any, dim: Any = None, keepdim: bool = False, *, axis: Axis = None, keepdims: bool = False
) -> Any:
    """Take the largest element; the gradient goes to the first of equal ones.

    The position of the maximum is found without a gradient; picking the element
    there is linear.

    Parameters
    ----------
    dim, keepdim
        PyTorch's meaning, also when given by place: ``max(x, 1)`` is (values, indices) along
        axis 1, and ``max(x, y)`` of two Tensors is ``maximum``.
    axis, keepdims
        NumPy's meaning, by name: the values alone, along an axis, several, or all.
    """
    return _extreme("max", x, dim, keepdim, axis, keepdims)


def min(
    x: Any, dim: Any = None, keepdim: bool = False, *, axis: Axis = None, keepdims: bool = False
) -> Any:
    """Take the smallest element; the arguments are those of ``max``."""
    return _extreme("min", x, dim, keepdim, axis, keepdims)


def _extreme(
    who: str, x: Any, dim: Any, keepdim: bool, axis: Axis, keepdims: bool
) -> Tensor | Extremes:
    x = as_tensor(x)
    if isinstance(dim, Tensor):
        return (maximum if who == "max" else minimum)(x, dim)
    if dim is not None and (axis is not None or isinstance(dim, tuple | list)):
        raise ArgumentError(
            message(
                f"{who}: dim is one axis, whose values and indices are returned",
                f"received dim={dim!r}, axis={axis!r}",
                hint="for values alone, along one or several axes, write axis=.",
            )
        )
    axes = axes_of(who, axis if dim is None else dim, x.ndim)
    if math.prod(x.shape[a] for a in axes) == 0:
        raise ShapeError(
            message(f"{who}: no elements to choose from", f"x has shape {x.shape}, axes {axes}")
        )
    op = Extreme(who, x.data, axes, keepdims or keepdim)
    return op(x) if dim is None else Extremes(op(x), Tensor(op.places.reshape(op.target)))


@either_name
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the place of the largest element along ``axis``, or among all; carries no gradient.

    Of equal ones it is the first's.
    """
    return _place("argmax", x, axis, keepdims)


@either_name
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return the place of the smallest element along ``axis``, or among all, as ``argmax`` does."""
    return _place("argmin", x, axis, keepdims)


def _place(who: str, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    data = as_tensor(x).data
    axes = axes_of(who, axis, data.ndim)
    if math.prod([data.shape[a] for a in axes]) == 0:
        raise ShapeError(
            message(f"{who}: no elements to choose from", f"x has shape {data.shape}, axes {axes}")
        )
    return Tensor(xp_of(data).asarray(getattr(data, who)(axis=axis, keepdims=keepdims)))


@either_name
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Multiply the elements along ``axis`` (an integer, a tuple, or None for all).

    Integers are multiplied in int64. The first half is multiplied by the second until one is
    left: no derivative divides, so a zero among the factors is no trouble.
    """
    x = as_tensor(x)
    x = x if x.dtype.kind == "f" else x.astype(np.int64)
    axes = axes_of("prod", axis, x.ndim)
    rest = tuple([a for a in range(x.ndim) if a not in axes])
    kept = tuple([x.shape[a] for a in rest])
    rows = reshape(Permute((*rest, *axes))(x), (*kept, math.prod([x.shape[a] for a in axes])))
    while (n := rows.shape[-1]) > 1:
        half = n // 2
        odd = [rows[..., 2 * half :]] if n % 2 else []
        rows = cat([rows[..., :half] * rows[..., half : 2 * half], *odd], -1)
    if not rows.shape[-1]:  # the product of nothing is 1
        rows = sum(rows, -1, keepdims=True) + 1
    target = tuple([1 if a in axes else s for a, s in enumerate(x.shape)]) if keepdims else kept
    return reshape(rows, target)


class CumSum(Linear):
    """Sum what lies before each element along an axis, itself included; the adjoint, behind it."""

    def __init__(self, axis: int):
        self.axis = axis
        self.turned = (*[slice(None)] * axis, slice(None, None, -1))

    def apply(self, x: Array) -> Array:
        kept = np.int64 if x.dtype.kind != "f" else np.float32 if x.itemsize == 2 else x.dtype
        summed = xp_of(x).cumsum(x, axis=self.axis, dtype=kept)
        return summed.astype(x.dtype) if x.dtype == np.float16 else summed

    def adjoint(self, y: Array) -> Array:
        return self.apply(y[self.turned])[self.turned]


@either_name
def cumsum(x: Any, axis: int) -> Tensor:
    """Add up along ``axis``, and keep every sum on the way; integers in int64."""
    x = as_tensor(x)
    (along,) = axes_of("cumsum", (axis,), x.ndim or 1)
    return CumSum(along)(x) if x.ndim else reshape(CumSum(0)(reshape(x, (1,))), ())


class LogSumExp(Op):
    """log(sum(exp(x))) along axes, which stay with size 1 or go."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool):
        self.axes = axes
        self.kept = tuple([1 if a in axes else size for a, size in enumerate(shape)])
        self.target = self.kept if keepdims else tuple(
            [size for a, size in enumerate(shape) if a not in axes]
        )

    def forward(self, x: Array) -> Array:
        xp = xp_of(x)
        if x.size == 0:
            return xp.log(total(xp.exp(x), self.axes)).reshape(self.target)
        top = x.max(axis=self.axes, keepdims=True)
        top = xp.where(xp.isfinite(top), top, x.dtype.type(0))
        with np.errstate(divide="ignore"):  # the log of an empty or all -inf sum is -inf
            result = xp.log(total(xp.exp(x - top), self.axes, True)) + top
        return result.reshape(self.target)

    def vjp_x(self, grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
        return reshape(grad, self.kept) * exp(x - reshape(out, self.kept))


@either_name
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Take log(sum(exp(x))) along ``axis``, without overflow. Its slope is the softmax."""
    x = floating(x)
    axes = axes_of("logsumexp", axis, x.data.ndim)
    return LogSumExp(x.data.shape, axes, keepdims)(x)
