"""Launches norm_packs.cu: normalising by packs, natively on a CPU, or on a GPU.

The launchers take what those of ``minidl.kernels.norm`` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from typing import Any, NamedTuple

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.launch import numbers_of, runs_natively
from minidl.cuda.prepare import ceil_div, empty
from minidl.cuda.source import folder, source_of
from minidl.kernels.packs import SHARE, in_order, launch_packs

SOURCE = source_of(folder() / "norm_packs.cu")

ROWS, MOST = 2048, 32
"""The rows of a column that are a cell, at least, and the cells of a column, at most, on a CPU."""

GPU_ROWS, GPU_MOST = 32, 64
"""Those rows and cells on a GPU, which has more threads to feed."""

LAYERS = 1 << 12
"""The numbers of the layers that a thread takes, at least."""

NEIGHBOURS = 1 << 14
"""The bytes of neighbours that are a cell, at most: they stay in a core's first cache."""

# How the kernels see an array, and its weights.


class Turns(NamedTuple):
    """The struct of include/affine.cuh."""

    inner: int
    weights: int


class Cut(NamedTuple):
    """The struct of norm_packs.cu."""

    N: int
    A: int
    B: int
    P: int
    run: int
    parts: int
    length: int
    columns: int
    along: int


@dataclass(frozen=True)
class Plan:
    """An array as (N, A, B, P), once its axes are in ``order``, and how its cells are cut.

    ``shape`` and ``kept`` are the sizes of the array and of its statistics, in that order.
    """

    order: tuple[int, ...]
    shape: tuple[int, ...]
    kept: tuple[int, ...]
    cut: Cut
    turns: Turns

    @cached_property
    def line(self) -> int:
        """The numbers of a row of columns."""
        return self.cut.B * self.cut.P

    @cached_property
    def cells(self) -> tuple[int, ...]:
        """The shape of what is known of each cell."""
        c = self.cut
        return (c.N, c.parts, self.line) if c.columns else (c.N * c.A * self.line // c.run, c.parts)

    @cached_property
    def statistics(self) -> int:
        """The number of statistics."""
        return self.cut.N * self.cut.B

    @cached_property
    def single(self) -> int:
        """Whether a cell is all of a statistic."""
        return int(prod(self.cells) == self.statistics)

    @cached_property
    def backward(self) -> tuple[int, ...]:
        """The axes, from the order of memory to that of the array."""
        return tuple(self.order.index(axis) for axis in range(len(self.order)))

    def threads(self, strip: int) -> tuple[int, int]:
        """The threads of a launch that take so many columns, and the numbers that each takes."""
        c = self.cut
        if c.columns:
            numbers = min(c.length, c.A) * min(strip, self.line)
            return c.N * c.parts * ceil_div(self.line, strip), numbers
        return prod(self.cells), min(c.length, c.run)


def turns_of(
    weight: tuple[int, ...], x: tuple[int, ...], order: Sequence[int]
) -> Turns | None:
    """Find how weights take turns along an x whose axes are in ``order``.

    None where the axes along which a weight changes do not lie together.
    """
    changing = [place for place, axis in enumerate(order) if weight[axis] > 1]
    if not changing:
        return Turns(max(prod(x), 1), 1)
    first, last = changing[0], changing[-1]
    count = prod(x[axis] for axis in order[first : last + 1])
    inner = prod(x[axis] for axis in order[last + 1 :])
    return Turns(inner, count) if count == prod(weight) else None


def plan_of(x: Array, weight: Array, axes: tuple[int, ...]) -> Plan | None:
    """Plan the launches for an array that is not empty; None where packs do not cover it."""
    lanes = numbers_of(SOURCE, x)["LANES"]
    return _plan(x.shape, x.strides, x.itemsize, weight.shape, axes, runs_natively(x), lanes)


@lru_cache(maxsize=1024)  # the same layers, at every step
def _plan(
    shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, weight: tuple[int, ...],
    axes: tuple[int, ...], native: bool, lanes: int,
) -> Plan | None:
    summed = {axis % len(shape) for axis in axes}
    in_memory = sorted(range(len(shape)), key=lambda axis: -strides[axis])
    moved = sorted(range(len(shape)), key=lambda axis: axis in summed)
    for order in (in_memory, moved):
        sizes, turns = _folded(shape, summed, order), turns_of(weight, shape, order)
        if sizes and turns:
            rows, most = (ROWS, MOST) if native else (GPU_ROWS, GPU_MOST)
            cut = _cut(*sizes, *turns, lanes, rows, most, NEIGHBOURS // itemsize)
            if cut:
                placed = tuple(shape[axis] for axis in order)
                kept = tuple(1 if axis in summed else shape[axis] for axis in order)
                return Plan(tuple(order), placed, kept, cut, turns)
    return None


def _folded(
    shape: tuple[int, ...], summed: set[int], order: Sequence[int]
) -> tuple[int, int, int, int] | None:
    """The sizes N, A, B, P, where axes that are kept and summed lie so in memory."""
    sizes, kind = [1, 1, 1, 1], 3  # from the last: P is summed, B kept, A summed, N kept
    for axis in reversed(order):
        if shape[axis] > 1:
            if (axis in summed) != kind % 2:
                kind -= 1
            if kind < 0:
                return None
            sizes[kind] *= shape[axis]
    return sizes[0], sizes[1], sizes[2], sizes[3]


def _cut(
    N: int, A: int, B: int, P: int, inner: int, count: int, lanes: int, rows: int, most: int,
    neighbours: int,
) -> Cut | None:
    """Cut cells: packs in columns where runs are short or weights lie along them."""
    run = P if count == 1 or inner % P == 0 or inner == 1 else inner
    along = inner == 1 and count > 1
    if run < lanes or (along and (N, A, count) != (1, 1, P)):
        if count > 1 and B * P % (inner * count):
            return None  # the weights of a column are not all the same
        length = max(rows, ceil_div(A, most))
        return Cut(N, A, B, P, P, ceil_div(A, length), length, columns=1, along=0)
    if P % run:
        return None
    length = run if along else neighbours
    return Cut(N, A, B, P, run, ceil_div(run, length), length, columns=0, along=int(along))


# Launching.


def fits(x: Array, weight: Array, *_: Array, axes: tuple[int, ...], **__: Any) -> str:
    """Tell why packs cannot normalise."""
    covered = x.size == 0 or plan_of(x, weight, axes) is not None
    return "" if covered else "weights change along axes that do not lie together in memory"


def fits_adjoint(
    grad: Array, x: Array, mean: Array, inverse: Array, weight: Array, axes: tuple[int, ...],
    **_: Any,
) -> str:
    """Tell why packs cannot compute the derivative."""
    return fits(x, weight, axes=axes)


def normalize(
    kernel: str, x: Array, weight: Array, bias: Array, axes: tuple[int, ...], eps: float
) -> tuple[Array, Array, Array]:
    """Normalise as ``minidl.kernels.normalize`` does, by packs."""
    xp, dtype = xp_of(x), x.dtype
    if x.size == 0:  # the mean of no values is not a number
        summed = {axis % x.ndim for axis in axes}
        sizes = [1 if axis in summed else size for axis, size in enumerate(x.shape)]
        nothing = xp.full(sizes, xp.nan, dtype)
        return xp.empty(x.shape, dtype), nothing, nothing.copy()
    plan = plan_of(x, weight, axes)
    assert plan is not None
    y = empty(xp, plan.shape, dtype)
    mean, inverse = (xp.empty(plan.kept, dtype) for _ in range(2))
    x = x.transpose(plan.order)
    found = {"mean": mean, "inverse": inverse, "cut": plan.cut, "eps": eps}
    if not plan.single:
        partial = xp.empty((2, *plan.cells), dtype)
        _launch("normalize_packs_cells", plan, x=x, partial=partial, cut=plan.cut)
        _join("normalize_packs_join", plan, partial=partial, **found)
    _launch(kernel, plan, x=x, weight=_laid(weight, plan), bias=_laid(bias, plan), y=y,
            turns=plan.turns, single=plan.single, **found)
    return tuple(array.transpose(plan.backward) for array in (y, mean, inverse))


def normalize_adjoint(
    kernel: str, grad: Array, x: Array, mean: Array, inverse: Array, weight: Array,
    axes: tuple[int, ...], scaled: bool = False,
) -> Array | tuple[Array, Array, Array]:
    """Turn the gradient of y into that of x, as ``minidl.kernels`` does, by packs."""
    xp = xp_of(grad)
    if grad.size == 0:
        nothing = xp.empty(grad.shape, grad.dtype)
        return (nothing, xp.zeros_like(weight), xp.zeros_like(weight)) if scaled else nothing
    plan = plan_of(x, weight, axes)
    assert plan is not None
    grad_x, order = empty(xp, plan.shape, x.dtype), plan.order
    known = {
        "grad": in_order(grad, order), "x": in_order(x, order), "mean": mean.transpose(order),
        "inverse": inverse.transpose(order), "weight": _laid(weight, plan), "cut": plan.cut,
        "turns": plan.turns,
    }
    if scaled and plan.cut.along:
        sums = _layers(plan, grad_x, known)
    else:
        partial = sums = xp.empty((2, *plan.cells), x.dtype)
        if not plan.single:
            sums = xp.empty((2, plan.statistics), x.dtype)
            _launch("normalize_adjoint_packs_cells", plan, **known, partial=partial)
            _join("normalize_adjoint_packs_join", plan, weight=known["weight"], cut=plan.cut,
                  turns=plan.turns, partial=partial, sums=sums)
        _launch(kernel, plan, **known, sums=sums, grad_x=grad_x, single=plan.single)
        sums = _by_channel(partial, plan) if scaled else sums
    grad_x = grad_x.transpose(plan.backward)
    if not scaled:
        return grad_x
    bias, weight = sums.reshape(2, *(weight.shape[axis] for axis in order))
    return grad_x, weight.transpose(plan.backward), bias.transpose(plan.backward)


def _layers(plan: Plan, grad_x: Array, known: dict[str, Any]) -> Array:
    """Compute the gradient of layers; return those of their weights and biases, (2, P)."""
    rows, length = plan.cut.B, plan.cut.P
    each = max(ceil_div(LAYERS, length), ceil_div(rows, MOST))
    threads = ceil_div(rows, each)
    partial = xp_of(grad_x).empty((2, threads, length), grad_x.dtype)
    launch_packs("normalize_adjoint_packs_layers", threads, each * length, grad_x, **known,
                 partial=partial, grad_x=grad_x, each=each)
    return partial.sum(1, dtype=partial.dtype)


def _by_channel(partial: Array, plan: Plan) -> Array:
    """Add up what is known of the cells of each weight; (2, weights)."""
    if plan.cut.columns:
        inner = plan.turns.inner if plan.turns.weights > 1 else plan.line
        sums = partial.sum((1, 2), dtype=partial.dtype)
        return sums.reshape(2, -1, plan.turns.weights, inner).sum((1, 3), dtype=partial.dtype)
    runs = partial.sum(2, dtype=partial.dtype)
    each = plan.turns.inner // plan.cut.run
    return runs.reshape(2, -1, plan.turns.weights, each).sum((1, 3), dtype=partial.dtype)


def _launch(kernel: str, plan: Plan, **arguments: Any) -> None:
    x = arguments["x"]
    numbers = numbers_of(SOURCE, x)
    launch_packs(kernel, *plan.threads(numbers["LANES"] * numbers["WIDEST"]), x, **arguments)


def _join(kernel: str, plan: Plan, **arguments: Any) -> None:
    """Launch a thread for each statistic, whose cells it joins."""
    cells = prod(plan.cells) // plan.statistics
    launch_packs(kernel, plan.statistics, min(8 * cells, SHARE), arguments["partial"], **arguments)


def _laid(weight: Array, plan: Plan) -> Array:
    """A weight in the order of memory; where packs lie in columns, one for each column."""
    laid = weight.transpose(plan.order).ravel()
    if not plan.cut.columns or plan.line == plan.turns.weights:
        return laid
    inner = plan.turns.inner if plan.turns.weights > 1 else plan.line
    xp = xp_of(weight)
    return xp.tile(xp.repeat(laid, inner), plan.line // (inner * plan.turns.weights))
