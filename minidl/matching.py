"""Values made to fit each other: numbers, arrays and Tensors that an op combines.

The rules of their dtypes are in ``minidl.compute.dtypes``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.compute.arrays import device_of, to_device
from minidl.compute.dtypes import common_dtype
from minidl.errors import DtypeError, message
from minidl.tensor import Tensor, as_tensor


def match(*values: Any) -> tuple[Tensor, ...]:
    """Make Tensors of values that are to be combined element by element.

    ``x * 0.5`` and ``x * np.float64(0.5)`` leave float32 as it is, and so does an array of
    integers: the rules are in ``minidl.compute.dtypes``.
    """
    first = None
    for value in values:
        if not isinstance(value, Tensor):
            break
        dtype = value.data.dtype
        if dtype.kind != "b" and dtype is not first:  # bools widen nothing
            if first is not None:
                break
            first = dtype
    else:
        return values
    given = [v if isinstance(v, Tensor | bool | int | float) else as_tensor(v) for v in values]
    arrays = [v.data for v in given if isinstance(v, Tensor)]
    dtype = common_dtype(*[v.data if isinstance(v, Tensor) else v for v in given])
    # NumPy and CuPy promote as they compute; they are only kept from what they would do otherwise.
    convert = bool(arrays) and np.result_type(*[a.dtype for a in arrays]) != dtype
    device = device_of(arrays[0]) if arrays else None
    matched = []
    for value in given:
        if not isinstance(value, Tensor):
            value = Tensor(to_device(np.asarray(value, dtype), device))
        matched.append(value.astype(dtype) if convert else value)
    return tuple(matched)


def match_floats(who: str, *values: Any) -> tuple[Tensor, ...]:
    """Match values and convert them to one floating dtype, as hand-written code needs them.

    Raises
    ------
    DtypeError
        If none of them is of a floating dtype.
    """
    tensors = match(*values)
    dtype = tensors[0].data.dtype
    for tensor in tensors:
        if tensor.data.dtype is not dtype or dtype.kind != "f":
            break
    else:
        return tensors
    dtype = common_dtype(*[t.data for t in tensors])
    if dtype.kind != "f":
        raise DtypeError(
            message(
                f"{who}: this is computed with floats",
                f"received {', '.join(str(t.dtype) for t in tensors)}",
                hint="convert first: x.astype(numpy.float32).",
            )
        )
    return tuple([t.astype(dtype) for t in tensors])
