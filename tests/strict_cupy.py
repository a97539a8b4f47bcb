"""A stand-in for CuPy that is as strict as CuPy, for machines without a GPU.

Its arrays are NumPy's inside and hide it: they are no ``numpy.ndarray``, refuse to become one or to
be mixed with one, reduce to arrays without axes and not to numbers, and lack what CuPy's lack. So
code that runs on them touches the two libraries only where it may. What is fetched to the host is
counted.
"""

from __future__ import annotations

import dataclasses
import operator
import sys
from collections import Counter
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

ATTRIBUTES = {"dtype", "shape", "size", "ndim", "nbytes", "itemsize", "strides"}

def _words(text: str) -> set[str]:
    return set(text.split())


METHODS = _words(
    """all any argmax argmin argsort astype clip copy cumprod cumsum diagonal dot fill flatten max
    mean min nonzero prod put ravel repeat reshape round sort squeeze std sum swapaxes take trace
    transpose var view"""
)

FUNCTIONS = _words(
    """abs absolute add all allclose any arange arccos arcsin arctan argmax argmin argsort
    array_equal atleast_1d atleast_2d bincount broadcast_to ceil clip concatenate cos cosh
    cumprod cumsum diag divide dot einsum empty empty_like equal exp expand_dims expm1 eye flip
    floor full full_like greater greater_equal heaviside indices isfinite isinf isnan less
    less_equal linspace log log1p log2 logaddexp logical_and logical_not logical_or matmul max
    maximum mean min minimum mod moveaxis multiply nan_to_num negative nonzero not_equal ones
    ones_like outer pad power prod put_along_axis ravel reciprocal remainder repeat reshape rint
    roll sign signbit sin sinh sort sqrt square squeeze stack subtract sum swapaxes take
    take_along_axis tan tanh tensordot tile transpose tril triu trunc where zeros zeros_like"""
)
"""What of NumPy's is CuPy's too, and used here or likely to be; look it up before adding to it."""

CONSTANTS = _words(
    """bool_ e float16 float32 float64 inf int16 int32 int64 int8 nan newaxis pi uint8 uint32
    uint64"""
)

UNKNOWN = {"initial", "where", "sparse", "like", "subok", "correction", "mean"}
"""Arguments of NumPy's functions that CuPy's do not take."""

fetched: Counter[str] = Counter()
"""How often something was copied to the host, which waits for the GPU; by what asked for it."""


class ndarray:
    """An array on the GPU that is not there."""

    __slots__ = ("_inside",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, inside: Any):
        self._inside = np.asarray(inside)

    def __getattr__(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return getattr(self._inside, name)
        if name in METHODS:
            return _checked(getattr(self._inside, name), f"ndarray.{name}")
        raise AttributeError(f"this stand-in for CuPy's ndarray has no {name!r}")

    @property
    def flags(self) -> Any:
        found = self._inside.flags
        return SimpleNamespace(c_contiguous=found.c_contiguous, f_contiguous=found.f_contiguous)

    @property
    def base(self) -> ndarray | None:
        owner = self._inside.base
        return ndarray(owner) if isinstance(owner, np.ndarray) else None

    @property
    def T(self) -> ndarray:
        return ndarray(self._inside.T)

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._inside.ctypes.data, device_id=0)

    @property
    def device(self) -> str:
        return "<the stand-in's device 0>"

    def __dlpack__(self, **options: Any) -> Any:
        return self._inside.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._inside.__dlpack_device__()

    # What would mix the two libraries.

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __array_function__(self, function: Any, *_: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was given an array of CuPy's")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        # CuPy answers for NumPy's scalars, as in np.float32(2) * x.
        if method != "__call__" or any(isinstance(x, np.ndarray) for x in inputs):
            raise TypeError(f"Unsupported type: numpy.{ufunc.__name__} of arrays of both libraries")
        return _checked(ufunc, ufunc.__name__)(*inputs, **options)

    # What copies to the host.

    def _fetch(self, what: str) -> Any:
        fetched[what] += 1
        return self._inside

    def __bool__(self) -> bool:
        return bool(self._fetch("bool"))

    def __float__(self) -> float:
        return float(self._fetch("float"))

    def __int__(self) -> int:
        return int(self._fetch("int"))

    def __index__(self) -> int:
        return operator.index(self._fetch("index"))

    def item(self) -> Any:
        return self._fetch("item").item()

    def tolist(self) -> Any:
        return self._fetch("tolist").tolist()

    def get(self) -> np.ndarray:
        return self._fetch("get").copy()

    def __len__(self) -> int:
        return len(self._inside)

    def __iter__(self) -> Any:
        return (ndarray(row) for row in self._inside)

    def __repr__(self) -> str:
        return f"strict_cupy.{self._inside!r}"

    def __getitem__(self, index: Any) -> ndarray:
        return ndarray(self._inside[_wrapped(self.shape, _index(index))])

    def __setitem__(self, index: Any, value: Any) -> None:
        places = _wrapped(self.shape, _index(index))
        self._inside[places] = _inside(value, "ndarray.__setitem__")


def _binary(name: str) -> Any:
    function = getattr(operator, name.strip("_").removeprefix("r"))

    def method(self: ndarray, other: Any) -> Any:
        if not isinstance(other, (ndarray, np.ndarray, np.generic, bool, int, float)):
            return NotImplemented
        pair = self._inside, _inside(other, name)
        return ndarray(function(*pair[::-1] if name.startswith("__r") else pair))

    return method


def _inplace(name: str) -> Any:
    function = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        function(self._inside, _inside(other, name))
        return self

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(ndarray, f"__{_name}__", _binary(f"__{_name}__"))
    setattr(ndarray, f"__r{_name}__", _binary(f"__r{_name}__"))
    setattr(ndarray, f"__i{_name}__", _inplace(f"__i{_name}__"))
for _name in ("and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(ndarray, f"__{_name}__",
            lambda a, b, f=_function: ndarray(f(a._inside, _inside(b, "& | ^"))))
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(ndarray, f"__{_name}__", _binary(f"__{_name}__"))
for _name in ("neg", "pos", "abs", "invert"):
    _function = getattr(operator, f"__{_name}__")
    setattr(ndarray, f"__{_name}__", lambda a, f=_function: ndarray(f(a._inside)))


def _inside(value: Any, who: str) -> Any:
    """A value for NumPy: an array of ours is unwrapped, one of NumPy's refused."""
    if isinstance(value, ndarray):
        return value._inside
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type <class 'numpy.ndarray'> in {who}")
    if type(value) in (list, tuple):
        return type(value)(_inside(v, who) for v in value)
    return value


def _index(index: Any) -> Any:
    """As `_inside`, but CuPy takes NumPy's arrays of places, and copies them to the GPU."""
    if isinstance(index, tuple):
        return tuple(_index(i) for i in index)
    return index._inside if isinstance(index, ndarray) else index


def _wrapped(shape: tuple[int, ...], index: Any) -> Any:
    """Places that are not there are read modulo the size, without an error, as by CuPy."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [isinstance(p, np.ndarray) and p.dtype.kind in "iu" for p in parts]
    if not any(arrays):
        return index
    axes = [0 if p is None or p is ... else getattr(p, "ndim", 1) if not a and hasattr(p, "dtype")
            else 1 for p, a in zip(parts, arrays, strict=True)]
    found, axis = [], 0
    for part, array, taken in zip(parts, arrays, axes, strict=True):
        found.append(part % shape[axis] if array else part)
        axis += len(shape) - sum(axes) if part is ... else taken
    return tuple(found)


def _take_along_axis(a: Any, places: Any, axis: int) -> ndarray:
    inside = _inside(places, "cupy.take_along_axis") % max(a.shape[axis], 1)
    return ndarray(np.take_along_axis(a._inside, inside, axis))


def _outside(result: Any) -> Any:
    if type(result) in (list, tuple):
        return type(result)(_outside(r) for r in result)
    return ndarray(result) if isinstance(result, (np.ndarray, np.generic)) else result


def _checked(function: Any, who: str) -> Any:
    """A function of NumPy's that takes and gives arrays of ours alone."""

    def call(*given: Any, **options: Any) -> Any:
        unknown = UNKNOWN & options.keys()
        if unknown:
            raise TypeError(f"{who}: CuPy knows no argument {min(unknown)!r}")
        plain = [_inside(x, who) for x in given]
        named = {name: _inside(x, who) for name, x in options.items()}
        return _outside(function(*plain, **named))

    return call


class _Module(ModuleType):
    """``cupy``, with the functions that CuPy has."""

    def __getattr__(self, name: str) -> Any:
        if name in CONSTANTS:
            return getattr(np, name)
        if name not in FUNCTIONS:
            raise AttributeError(f"this stand-in for CuPy has no {name!r}: look whether CuPy has")
        function = _checked(getattr(np, name), f"cupy.{name}")
        if isinstance(getattr(np, name), np.ufunc):
            function.at = _checked(getattr(np, name).at, f"cupy.{name}.at")
        return function


def module() -> Any:
    """The stand-in, to be put into ``sys.modules["cupy"]``."""
    made = _Module("cupy")
    made.ndarray = ndarray
    made.asarray = lambda x, dtype=None: ndarray(np.asarray(_taken(x), dtype))
    made.array = lambda x, dtype=None, copy=True: ndarray(np.array(_taken(x), dtype))
    made.ascontiguousarray = lambda x, dtype=None: ndarray(np.ascontiguousarray(x._inside, dtype))
    made.take_along_axis = _take_along_axis
    made.asnumpy = lambda x: x.get() if isinstance(x, ndarray) else np.asarray(x)
    made.cuda = SimpleNamespace(
        is_available=lambda: True, Device=lambda number: SimpleNamespace(compute_capability="90"),
        runtime=SimpleNamespace(getDevice=lambda: 0, getDeviceCount=lambda: 2),
    )
    return made


def _taken(x: Any) -> Any:
    return x._inside if isinstance(x, ndarray) else np.array(x)


def run_emulated(launch: Any) -> None:
    """In place of ``minidl.cuda.gpu.run``: the launch on the same memory, by the emulator."""
    from minidl.cuda import emulator

    values = tuple(v._inside if isinstance(v, ndarray) else v for v in launch.values)
    emulator.run(dataclasses.replace(launch, values=values))


def install(monkeypatch: Any) -> Any:
    """Put the stand-in into its place for the length of a test."""
    made = module()
    monkeypatch.setitem(sys.modules, "cupy", made)
    fetched.clear()
    return made
