"""Tensors made from nothing: filled, counted, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import random
from minidl.compute.arrays import xp_of
from minidl.compute.counts import whole, wholes
from minidl.errors import ArgumentError, message
from minidl.tensor import Tensor, as_tensor, default_dtype, tensor

Shape = int | Sequence[int]


def full(
    shape: Shape,
    value: float,
    dtype: Any = default_dtype,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor with every element equal to ``value``; the shape is a tuple.

    Raises
    ------
    ArgumentError
        If the shape is a number: ``full(2, 3)`` would be [3, 3] to NumPy and nothing to PyTorch.
    """
    if not isinstance(shape, Sequence):
        raise ArgumentError(
            message(
                "full: the shape must be a tuple",
                f"received shape {shape!r} and value {value!r}",
                hint=f"write full(({shape},), {value}) for a row of so many.",
            )
        )
    return tensor(np.full(_sizes((shape,)), value, dtype), None, device, requires_grad)


def zeros(
    *shape: Any, dtype: Any = default_dtype, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of zeros: ``zeros(2, 3)``, ``zeros((2, 3))`` or ``zeros((2, 3), dtype)``."""
    return _filled(shape, 0, dtype, device, requires_grad)


def ones(
    *shape: Any, dtype: Any = default_dtype, device: str | None = None, requires_grad: bool = False
) -> Tensor:
    """Make a Tensor of ones: ``ones(2, 3)``, ``ones((2, 3))`` or ``ones((2, 3), dtype)``."""
    return _filled(shape, 1, dtype, device, requires_grad)


def _filled(
    shape: tuple[Any, ...], value: int, dtype: Any, device: str | None, requires_grad: bool
) -> Tensor:
    if len(shape) == 2 and isinstance(shape[0], Sequence):  # NumPy's way: zeros((2, 3), dtype)
        sizes, dtype = shape
        return full(_sizes((sizes,)), value, dtype, device, requires_grad)
    return full(_sizes(shape), value, dtype, device, requires_grad)


def _sizes(shape: tuple[Any, ...]) -> tuple[int, ...]:
    """Read a shape that is given as one sequence, or number by number."""
    one = len(shape) == 1 and isinstance(shape[0], Sequence)
    sizes = tuple(shape[0]) if one else shape
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int | np.integer):
            raise ArgumentError(
                message(
                    "a shape consists of integers",
                    f"received {shape!r}",
                    hint="the dtype is given by name: zeros(2, 3, dtype=numpy.float64).",
                )
            )
        if size < 0:
            raise ArgumentError(
                message(
                    "the sizes of a shape are at least 0",
                    f"received {shape!r}",
                    hint="only reshape and expand know what -1 stands for.",
                )
            )
    return sizes


def zeros_like(x: Any) -> Tensor:
    """Make zeros with the shape, dtype and device of x."""
    data = as_tensor(x).data
    return Tensor(xp_of(data).zeros_like(data))


def ones_like(x: Any) -> Tensor:
    """Make ones with the shape, dtype and device of x."""
    data = as_tensor(x).data
    return Tensor(xp_of(data).ones_like(data))


def arange(*bounds: float, dtype: Any = None, device: str | None = None) -> Tensor:
    """Count evenly: ``arange(stop)``, ``(start, stop)`` or ``(start, stop, step)``."""
    values = np.arange(*bounds, dtype=dtype)
    if dtype is None and values.dtype.kind == "f":
        values = values.astype(default_dtype)
    return tensor(values, None, device)


def linspace(start: float, stop: float, n: int, device: str | None = None) -> Tensor:
    """Make n evenly spaced numbers from ``start`` to ``stop``, both included."""
    count = whole("linspace: n", n)
    return tensor(np.linspace(start, stop, count, dtype=default_dtype), None, device)


def randn(*shape: Any, requires_grad: bool = False) -> Tensor:
    """Draw numbers from the normal distribution of mean 0 and variance 1."""
    drawn = random.normal(_sizes(shape))
    return drawn.requires_grad_() if requires_grad else drawn


def rand(*shape: Any, requires_grad: bool = False) -> Tensor:
    """Draw numbers from the uniform distribution on [0, 1)."""
    drawn = random.uniform(_sizes(shape))
    return drawn.requires_grad_() if requires_grad else drawn


def empty(*shape: Any, dtype: Any = default_dtype, device: str | None = None) -> Tensor:
    """Make a Tensor whose elements are not filled in."""
    return tensor(np.empty(_sizes(shape), dtype), None, device)


def eye(n: int, dtype: Any = default_dtype, device: str | None = None) -> Tensor:
    """Make the identity matrix, (n, n)."""
    return tensor(np.eye(whole("eye: n", n), dtype=dtype), None, device)


def full_like(x: Any, value: float) -> Tensor:
    """Make a Tensor of one value, with the shape, dtype and device of x."""
    data = as_tensor(x).data
    return Tensor(xp_of(data).full_like(data, value))


def randn_like(x: Any) -> Tensor:
    """Draw normal numbers with the shape, dtype and device of x."""
    x = as_tensor(x)
    return random.normal(x.shape, x.dtype, x.device)


def rand_like(x: Any) -> Tensor:
    """Draw uniform numbers with the shape, dtype and device of x."""
    x = as_tensor(x)
    return random.uniform(x.shape, dtype=x.dtype, device=x.device)


def randint(low: int, high: int, shape: Sequence[int]) -> Tensor:
    """Draw integers from ``low`` to below ``high``, int64."""
    low, high = wholes("randint: low and high", (low, high), None)
    if high <= low:
        raise ArgumentError(
            message("randint: there is no integer to draw",
                    f"from low = {low} to below high = {high}")
        )
    return Tensor(random.generator().integers(low, high, _sizes((shape,))))


def randperm(n: int) -> Tensor:
    """Draw the integers below n in random order, int64."""
    return Tensor(random.permutation(whole("randperm: n", n)))


def from_numpy(array: np.ndarray) -> Tensor:
    """Make a Tensor of an array, sharing its memory."""
    return as_tensor(array)


def from_dlpack(x: Any) -> Tensor:
    """Make a Tensor of another library's, sharing its memory, on the CPU or a GPU (DLPack)."""
    kind, _ = x.__dlpack_device__()
    xp = np if kind == 1 else xp_of(tensor(0.0, device="cuda").data)
    return Tensor(xp.from_dlpack(x))
