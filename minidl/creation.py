"""Tensors made from nothing: filled, counted, drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import random
from minidl.compute.arrays import xp_of
from minidl.tensor import Tensor, as_tensor, default_dtype, tensor

Shape = int | tuple[int, ...]


def full(
    shape: Shape,
    value: float,
    dtype: Any = default_dtype,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor with every element equal to ``value``."""
    return tensor(np.full(shape, value, dtype), None, device, requires_grad)


def zeros(
    shape: Shape,
    dtype: Any = default_dtype,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor of zeros."""
    return full(shape, 0, dtype, device, requires_grad)


def ones(
    shape: Shape,
    dtype: Any = default_dtype,
    device: str | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Make a Tensor of ones."""
    return full(shape, 1, dtype, device, requires_grad)


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
    return tensor(np.linspace(start, stop, n, dtype=default_dtype), None, device)


def randn(*shape: int, requires_grad: bool = False) -> Tensor:
    """Draw numbers from the normal distribution of mean 0 and variance 1."""
    drawn = random.normal(shape)
    return drawn.requires_grad_() if requires_grad else drawn


def rand(*shape: int, requires_grad: bool = False) -> Tensor:
    """Draw numbers from the uniform distribution on [0, 1)."""
    drawn = random.uniform(shape)
    return drawn.requires_grad_() if requires_grad else drawn
