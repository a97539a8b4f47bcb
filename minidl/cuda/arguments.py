"""Turns the arguments of a launch into what the kernel's declaration says.

Three traps of a raw launch are closed here: it takes a Python integer for 64 bits, it ignores
strides, and it checks nothing. So numbers become exactly as wide as they are declared, or are
refused where that would change them; arrays must have the declared type; and what is only read is
copied where it is not laid out as declared, or starts at an address that packs cannot be read from.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np

from minidl.compute.arrays import Array, is_array, xp_of
from minidl.compute.windows import Windows
from minidl.cuda.source import DTYPES, Kernel, Parameter, struct_of
from minidl.errors import ArgumentError, DeviceError, DtypeError, message

LARGEST = 2**31 - 1
"""The most elements that an array may have: kernels index with int."""

PACK = 16
"""The most bytes that a thread reads at once; an array must start at a multiple of it."""

FROM_NHWC, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
"""The axes of a channels-last array, from the order of its memory to (N, C, H, W) and back."""


def convert(kernel: Kernel, arguments: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Convert arguments; return what ``real`` means, and a value for each parameter in order.

    The values are those of ``minidl.cuda.launch.Launch``; errors are those of ``launch``.
    """
    parameters = kernel.parameters
    if len(arguments) != len(parameters) or any(p.name not in arguments for p in parameters):
        raise _misnamed(kernel, arguments)
    real = _real(kernel, arguments)
    values, outputs = [], []
    for parameter in parameters:
        value = arguments[parameter.name]
        if parameter.pointer:
            value = _array(kernel, parameter, value, real)
            if not parameter.const:
                outputs.append((parameter, value))
        elif parameter.type == "real" or parameter.type in DTYPES:
            value = _number(kernel, parameter, value, real)
        else:
            value = _struct(kernel, parameter, value, real)
        values.append(value)
    arrays = [(p, v) for p, v in zip(parameters, values, strict=True) if p.pointer]
    _one_device(kernel, arrays)
    for output, written in outputs:
        for parameter, array in arrays:
            if parameter is not output and (parameter.restrict or output.restrict):
                _apart(kernel, output, written, parameter, array)
    return real, tuple(values)


def _misnamed(kernel: Kernel, arguments: Mapping[str, Any]) -> ArgumentError:
    names = [parameter.name for parameter in kernel.parameters]
    missing = [name for name in names if name not in arguments]
    strange = [name for name in arguments if name not in names]
    facts = [f"missing: {', '.join(missing)}"] * bool(missing)
    facts += [f"unexpected: {', '.join(strange)}"] * bool(strange)
    near = [(s, difflib.get_close_matches(s, missing, 1)) for s in strange]
    meant = [f"did you mean {match[0]} by {s}?" for s, match in near if match]
    declared = f"it takes {', '.join(names)}." if names else "it takes none."
    return refused(
        kernel, "the arguments are not those declared", *facts, hint=" ".join([*meant, declared])
    )


def _real(kernel: Kernel, arguments: Mapping[str, Any]) -> str:
    """The type of the first ``real`` array; where there is none, float, as in minidl.cuh."""
    for parameter in kernel.parameters:
        if parameter.pointer and parameter.type == "real":
            dtype = getattr(arguments[parameter.name], "dtype", None)
            return "double" if dtype == np.float64 else "float"
    return "float"


def _array(kernel: Kernel, parameter: Parameter, value: Any, real: str) -> Array:
    """The array in the order of its memory; a copy where it is only read and laid out otherwise."""
    if not isinstance(value, np.ndarray) and not is_array(value):
        raise _mistyped(kernel, parameter, f"received {type(value).__name__}", "an array")
    dtype = DTYPES.get(real if parameter.type == "real" else parameter.type)
    if value.dtype != dtype:
        raise _wrong_dtype(kernel, parameter, value, real)
    if value.size > LARGEST:
        raise refused(
            kernel,
            f"{parameter.name} has {value.size} elements, shape {value.shape}",
            hint=f"kernels index with int: at most {LARGEST} elements. Work on a part at a time.",
        )
    if parameter.layout == "NHWC" and value.ndim == 4:
        value = value.transpose(TO_NHWC)
    if parameter.const:
        if not value.flags.c_contiguous:
            return xp_of(value).ascontiguousarray(value)
        return value.copy() if address_of(value) % PACK else value
    if not value.flags.c_contiguous or not getattr(value.flags, "writeable", True):
        laid = f"its axes as {parameter.layout}: shape {value.shape}, strides {value.strides}"
        raise refused(
            kernel,
            f"{parameter.name} cannot be written in place",
            "it is read-only" if value.flags.c_contiguous else laid,
            hint="an output is contiguous and writable; empty_nhwc makes one declared NHWC.",
        )
    return value


def address_of(array: Array) -> int:
    """The address at which the memory of an array starts."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def _wrong_dtype(kernel: Kernel, parameter: Parameter, value: Array, real: str) -> DtypeError:
    declared = f"{parameter.name} is declared {parameter.type}*"
    received = f"{parameter.name} has dtype {value.dtype}, shape {value.shape}"
    if parameter.type == "real":
        wanted = f"{DTYPES[real]} here: `real` arrays are all float32 or all float64"
    elif parameter.type in DTYPES:
        wanted = f"{DTYPES[parameter.type]}"
    else:
        wanted = "no dtype of NumPy; arrays of structs cannot be passed"
    return DtypeError(
        message(f"{kernel.name}: {received}", declared, hint=f"that means {wanted}.")
    )


def _number(kernel: Kernel, parameter: Parameter, value: Any, real: str) -> np.generic:
    """The number, exactly as wide as declared; refused where that would change it."""
    dtype = DTYPES[real if parameter.type == "real" else parameter.type]
    whole = isinstance(value, (int, np.integer, np.bool_))
    if dtype.kind == "f":
        if not whole and not isinstance(value, (float, np.floating)):
            raise _mistyped(kernel, parameter, f"received {value!r}", "a number")
        if abs(value) > _largest(dtype) and not math.isinf(value):
            raise _out_of_range(kernel, parameter, value, dtype)
        return dtype.type(value)
    if not whole or (isinstance(value, (bool, np.bool_)) and dtype.kind != "b"):
        raise _mistyped(kernel, parameter, f"received {value!r}", "an integer")
    lowest, highest = _range(dtype)
    if not lowest <= value <= highest:
        raise _out_of_range(kernel, parameter, value, dtype)
    return dtype.type(value)


@cache
def _range(dtype: np.dtype) -> tuple[int, int]:
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


@cache
def _largest(dtype: np.dtype) -> float:
    return float(np.finfo(dtype).max)


def _struct(kernel: Kernel, parameter: Parameter, value: Any, real: str) -> bytes:
    if is_record(value):
        return packed_record(kernel, parameter, value, real)
    if isinstance(value, Mapping):
        return _packed(kernel, parameter, value, real)
    wanted = "a Windows or a mapping of its fields, or a named tuple"
    raise _mistyped(kernel, parameter, f"received {value!r}", wanted)


def is_record(value: Any) -> bool:
    """Tell whether a value is a Windows or a named tuple, whose bytes are remembered."""
    return isinstance(value, Windows) or hasattr(value, "_fields")


@lru_cache(maxsize=1024)  # the same layers, at every step
def packed_record(kernel: Kernel, parameter: Parameter, record: Any, real: str) -> bytes:
    """The bytes of a Windows or a named tuple, as a kernel's parameter."""
    known = fields_of(record) if isinstance(record, Windows) else record._asdict()
    return _packed(kernel, parameter, known, real)


def _packed(kernel: Kernel, parameter: Parameter, given: Mapping[str, Any], real: str) -> bytes:
    """The bytes of a struct, field by field as C lays them out."""
    dtype = struct_of(kernel.source, parameter.type, real)
    names = dtype.names or ()
    if set(given) != set(names):
        raise refused(
            kernel, f"{parameter.name} does not have the fields of {parameter.type}",
            f"received {', '.join(given)}", hint=f"it has {', '.join(names)}.",
        )
    numbers = []
    for name in names:
        field = Parameter(f"{parameter.name}.{name}", _SPELT[dtype[name]])
        numbers.append(_number(kernel, field, given[name], real))
    return np.array(tuple(numbers), dtype).tobytes()


_SPELT = {dtype: name for name, dtype in DTYPES.items()}


def fields_of(windows: Windows) -> dict[str, int]:
    """The numbers of a Windows, by the names that kernels/include/windows.cuh gives them."""
    names = ["HW", "KL", "IJ", *((f"{what}_h", f"{what}_w") for what in _PER_AXIS)]
    pairs = [windows.image, windows.kernel, windows.output]
    pairs += [getattr(windows, what) for what in _PER_AXIS]
    return {
        name: size
        for both, sizes in zip(names, pairs, strict=True)
        for name, size in zip(both, sizes, strict=True)
    }


_PER_AXIS = ("stride", "padding", "dilation")


# --- arrays among each other ---


def _one_device(kernel: Kernel, arrays: list[tuple[Parameter, Array]]) -> None:
    places = {_place(array) for _, array in arrays}
    if len(places) > 1:
        facts = [f"{parameter.name} is on {_place(array)}" for parameter, array in arrays]
        raise DeviceError(
            message(f"{kernel.name}: the arrays lie on different devices", *facts,
                    hint="move them with .to(device).")
        )


def _place(array: Array) -> str:
    return "cpu" if isinstance(array, np.ndarray) else f"cuda:{array.data.device_id}"


def _apart(
    kernel: Kernel, output: Parameter, written: Array, parameter: Parameter, array: Array
) -> None:
    """Refuse an output that overlaps another array: __restrict__ promises that none does."""
    if isinstance(written, np.ndarray):
        overlap = np.may_share_memory(written, array)  # bounds: exact, as both are contiguous
    else:
        start, other = address_of(written), address_of(array)
        overlap = start < other + array.nbytes and other < start + written.nbytes
    if overlap:
        raise refused(
            kernel,
            f"the output {output.name} overlaps {parameter.name} in memory",
            "both are declared, or one of them is, as __restrict__",
            hint=f"write into an array of its own, or read from a copy of {parameter.name}.",
        )


# --- errors ---


def refused(kernel: Kernel, headline: str, *facts: str, hint: str) -> ArgumentError:
    """The error of an argument that does not fit the declaration."""
    return ArgumentError(message(f"{kernel.name}: {headline}", *facts, hint=hint))


def _mistyped(kernel: Kernel, parameter: Parameter, received: str, wanted: str) -> DtypeError:
    declared = f"declared {parameter.type}{'*' * parameter.pointer} {parameter.name}"
    headline = f"{kernel.name}: {parameter.name} must be {wanted}"
    return DtypeError(message(headline, received, declared))


def _out_of_range(
    kernel: Kernel, parameter: Parameter, value: Any, dtype: np.dtype
) -> ArgumentError:
    return refused(
        kernel, f"{parameter.name} is {value}, which does not fit into {parameter.type}",
        hint=f"{dtype} holds up to {_largest(dtype) if dtype.kind == 'f' else _range(dtype)[1]}.",
    )
