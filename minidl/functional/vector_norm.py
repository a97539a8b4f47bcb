"""Lengths of vectors, and vectors of length 1."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.compute.arrays import xp_of
from minidl.errors import ArgumentError, message
from minidl.functional.pointwise import abs, clip, floating, pow, sqrt, square, where
from minidl.functional.reduce import Axis, max, min, sum
from minidl.naming import either_name
from minidl.tensor import Tensor


@either_name
def norm(x: Any, p: float | str = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Take the length of vectors, (sum |x| ^ p) ^ (1 / p), along ``axis``.

    Parameters
    ----------
    x : Tensor
        Integers become float32.
    p : float or "fro"
        2 or "fro": Euclid's, of a matrix Frobenius's. infinity, -infinity: the largest and the
        smallest |x|. 0: how many elements are not 0.
    axis : int, tuple of int, or None
        None: all elements are one vector.

    Notes
    -----
    Where all elements are 0, so that there is no slope, the gradient is taken to be 0. Elements
    are divided by the largest before they are squared, and so neither overflow nor vanish.
    """
    x = floating(x)
    if x.dtype == np.float16:
        return norm(x.astype(np.float32), p, axis, keepdims).astype(np.float16)
    if p == "fro":
        p = 2
    if p == "nuc":
        raise ArgumentError(
            message("norm: the nuclear norm is not here",
                    "it sums the singular values of a matrix, whose derivatives minidl does not "
                    "have",
                    hint='numpy.linalg.norm(x.detach().numpy(), "nuc") is its value.')
        )
    if isinstance(p, str):
        raise ArgumentError(
            message(f"norm: unknown p {p!r}", hint='give a number, or "fro" for 2.')
        )
    if p in (math.inf, -math.inf):
        return (max if p > 0 else min)(abs(x), axis=axis, keepdims=keepdims)
    if p == 0:
        return sum((x != 0).astype(x.dtype), axis, keepdims)
    if p == 1:
        return sum(abs(x), axis, keepdims)
    scale = _largest(x, axis)
    powers = square(x / scale) if p == 2 else _powers(abs(x / scale), p)
    total = sum(powers, axis, keepdims=True)
    flat = total == 0
    length = where(flat, total, _root(where(flat, 1.0, total), p)) * scale
    return sum(length, axis, keepdims)  # of single elements: it drops their axes


def _largest(x: Tensor, axis: Axis) -> Tensor:
    """Return the largest |x| of each vector, or 1 where that is no scale; carries no gradient."""
    xp, sizes = xp_of(x.data), x.detach()
    if not x.size:
        return sum(sizes, axis, keepdims=True) + 1
    top = max(abs(sizes), axis=axis, keepdims=True).data
    return Tensor(xp.where(xp.isfinite(top) & (top > 0), top, x.dtype.type(1)))


def _powers(sizes: Tensor, p: float) -> Tensor:
    """Raise to the power p, with slope 0 at 0, where a p below 1 has none."""
    flat = sizes == 0
    return where(flat, 0.0 if p > 0 else math.inf, pow(where(flat, 1.0, sizes), p))


def _root(total: Tensor, p: float) -> Tensor:
    return sqrt(total) if p == 2 else pow(total, 1 / p)


@either_name
def normalize(x: Any, p: float = 2.0, axis: Axis = 1, eps: float = 1e-12) -> Tensor:
    """Divide vectors by their length along ``axis``, or by ``eps`` where that is larger."""
    x = floating(x)
    return x / clip(norm(x, p, axis, keepdims=True), min=eps)
