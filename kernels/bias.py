"""Launches bias.cu: a number per channel added to all of its pixels, and summed over them.

The names, arguments and results are those of ``minidl.compute.reference.bias``.
"""

from __future__ import annotations

from math import gcd, prod

from minidl.compute.arrays import Array, xp_of
from minidl.cuda.arguments import PACK, TO_NHWC, address_of
from minidl.cuda.ladder import Ladder, Rung
from minidl.cuda.launch import lanes_of, launch_each, numbers_of, runs_natively
from minidl.cuda.prepare import ceil_div
from minidl.cuda.source import folder, source_of
from minidl.kernels.elementwise import alike, as_written, launch_naive
from minidl.kernels.packs import SHARE, launch_packs

SOURCE = source_of(folder() / "bias.cu")

ROWS, MOST = 64, 256
"""The rows of a part of a sum, at least, and the parts of a sum, at most."""

_WRITTEN = (0, 1, 2, 3)


def _fits(y: Array, *_: Array, **__: bool) -> str:
    if not y.transpose(TO_NHWC).flags.c_contiguous:
        return "packs lie along the channels: channels last"
    aligned = runs_natively(y) or address_of(y) % PACK == 0
    return "" if aligned else "the array does not begin at a whole pack"


def _line(y: Array) -> int:
    """The numbers of as many copies of the channels as make whole packs."""
    c, lanes = y.shape[1], lanes_of(SOURCE, y)
    return c * lanes // gcd(c, lanes)


def _strip(y: Array) -> int:
    """The numbers of a line that a thread takes."""
    numbers = numbers_of(SOURCE, y)
    return numbers["WIDEST"] * numbers["LANES"]


# Adding.


def _add_naive(kernel: str, y: Array, bias: Array, in_place: bool = False) -> Array:
    result = y if in_place and y.flags.c_contiguous else alike(y, _WRITTEN)
    sizes = {"inner": prod(y.shape[2:]), "C": y.shape[1], "S": y.size}
    launch_naive(kernel, y=as_written(y), bias=as_written(bias), biased=result, **sizes)
    if in_place and result is not y:
        y[...] = result
        return y
    return result


def _add(kernel: str, y: Array, bias: Array, in_place: bool = False) -> Array:
    result = y if in_place else alike(y, TO_NHWC)
    if y.size:
        line, strip = _line(y), _strip(y)
        height = max(SHARE // (4 * line), 1) if runs_natively(y) else 1
        groups = ceil_div(ceil_div(y.size, line), height)
        launch_packs(
            kernel, groups * ceil_div(line, strip), height * min(strip, line), y,
            y=y.transpose(TO_NHWC), bias=xp_of(bias).tile(bias, line // bias.size),
            biased=result.transpose(TO_NHWC), line=line, S=y.size, height=height,
        )
    return result


# Summing.


def _sum_naive(kernel: str, y: Array) -> Array:
    sums = xp_of(y).zeros(y.shape[1], y.dtype)
    if y.size:
        sizes = {"inner": prod(y.shape[2:]), "C": y.shape[1], "S": y.size}
        launch_each(kernel, sums.size, y=as_written(y), sums=sums, **sizes)
    return sums


def _sum(kernel: str, y: Array) -> Array:
    xp, c = xp_of(y), y.shape[1]
    if not y.size:
        return xp.zeros(c, y.dtype)
    line, strip = _line(y), _strip(y)
    rows = ceil_div(y.size, line)
    length = max(ROWS, ceil_div(rows, MOST))
    partial = xp.empty((ceil_div(rows, length), line), y.dtype)
    launch_packs(
        kernel, len(partial) * ceil_div(line, strip), length * min(strip, line), y,
        y=y.transpose(TO_NHWC), partial=partial, line=line, S=y.size, length=length,
    )
    return partial.sum(0, dtype=y.dtype).reshape(-1, c).sum(0, dtype=y.dtype)


# The ladders.

ADD_BIAS = Ladder("add_bias", [
    Rung("naive", _add_naive),
    Rung("packs", _add, fits=_fits, native=True),
])

CHANNEL_SUMS = Ladder("channel_sums", [
    Rung("naive", _sum_naive),
    Rung("packs", _sum, fits=_fits, native=True),
])


def add_bias(y: Array, bias: Array, in_place: bool = False) -> Array:
    """Add to each channel its number: (N, C, H, W), (C,) -> (N, C, H, W)."""
    return ADD_BIAS.climb(y, bias, in_place=in_place)


def channel_sums(y: Array) -> Array:
    """Sum each channel over all pixels: (N, C, H, W) -> (C,)."""
    return CHANNEL_SUMS.climb(y)
