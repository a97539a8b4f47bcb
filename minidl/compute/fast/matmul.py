"""Matrix products by BLAS: a small one by one of its threads.

The other threads of OpenBLAS look for work for tens of milliseconds after a product, and keep the
cores from the threads that fill the next arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from minidl.compute import threads
from minidl.compute.arrays import Array
from minidl.compute.reference import matmul as reference

SMALL = 2**24
"""Multiplications up to which one thread is as quick as several, counting what follows."""

ONE_ANYWAY = 2**16
"""Multiplications up to which BLAS uses one thread by itself."""


def matmul_y(x: Array, w: Array) -> Array:
    """Multiply matrices, (..., A, B) * (..., B, C) -> (..., A, C)."""
    return _multiplied(reference.matmul_y, x, w, w.shape[-1:])


def matmul_x(w: Array, y: Array) -> Array:
    """Multiply by a transposed matrix, (..., B, C) * (..., A, C) -> (..., A, B)."""
    return _multiplied(reference.matmul_x, w, y, y.shape[-2:-1])


def matmul_w(x: Array, y: Array) -> Array:
    """Multiply a transposed matrix, (..., A, B) * (..., A, C) -> (..., B, C)."""
    return _multiplied(reference.matmul_w, x, y, y.shape[-1:])


def _multiplied(
    product: Callable[[Array, Array], Array], a: Array, b: Array, more: tuple[int, ...]
) -> Array:
    """The product, of as many multiplications as ``a`` has numbers times ``more``."""
    if ONE_ANYWAY < a.size * math.prod(more) <= SMALL and threads.count() > 1:
        with threads.blas_alone():
            return product(a, b)
    return product(a, b)
