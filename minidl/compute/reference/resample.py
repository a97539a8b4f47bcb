"""Resizing by taps, one axis after the other."""

from __future__ import annotations

from minidl.compute.arrays import Array, xp_of
from minidl.compute.taps import Taps


def resample(x: Array, down: Taps, across: Taps) -> Array:
    """Mix rows by one table and columns by the other: (N, C, H, W) -> (N, C, I, J)."""
    return _mix(_mix(x, down, 2), across, 3)


def _mix(x: Array, taps: Taps, axis: int) -> Array:
    xp = xp_of(x)
    shape = [1] * x.ndim
    shape[axis] = taps.count
    target = list(x.shape)
    target[axis] = taps.count
    y = xp.zeros(target, x.dtype)
    for t in range(taps.index.shape[1]):
        weight = xp.asarray(taps.weight[:, t], x.dtype).reshape(shape)
        y += weight * x.take(xp.asarray(taps.index[:, t]), axis)
    return y
