"""The names that a weight file may use, and what they stand for here.

    name in the pickle               here
    collections.OrderedDict          a dict
    collections.Counter              a dict
    builtins.set                     a set
    builtins.bytes, _codecs.encode   bytes
    torch.FloatStorage and others    an ElementType
    torch._utils._rebuild_tensor*    a View
    torch._utils._rebuild_parameter, torch.nn.parameter.Parameter   their tensor
    torch.Size                       a tuple
    torch.float32 and others         their name, "torch.float32"
    torch.device                     its name, "cuda:0"

These are functions of our own that look at what they are given. Nothing of these
names is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from minidl.files.torch_files.refusal import refuse
from minidl.files.torch_files.tensors import ELEMENTS, ElementType, Storage, View

Key = str | int | float | bytes | None | tuple[Any, ...]
"""The key of a dict that a pickle may build, or a member of a set."""

MAX_ODD_KEYS = 1000
"""Most keys of a dict that has others than strings, bytes and integers of 32 bits. Such keys could
be chosen so that all fall into one slot of the dict's table."""

MAX_KEY = 16
"""Most values of a tuple that is a key."""

DTYPES = (
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
    "bool", "complex64", "complex128",
)
"""PyTorch's names of the types of elements."""


class Callee(NamedTuple):
    """A function that a pickle may call, with a tuple of arguments."""

    call: Callable[[tuple[Any, ...]], Any]


def check_key(key: Any, held: int) -> Key:
    """Refuse a key that can never be looked up, or that may make looking up slow.

    Parameters
    ----------
    key : object
    held : int
        Number of keys that its dict or set has already.
    """
    kind = type(key)
    if kind in (str, bytes) or (kind is int and -(2**31) <= key < 2**31):
        return key
    if kind not in (int, float, bool, type(None)) and not (kind is tuple and _is_key(key, 2)):
        refuse(f"its pickle has a dict with a {kind.__name__} as a key")
    if held >= MAX_ODD_KEYS:
        refuse(f"its pickle has a dict of more than {MAX_ODD_KEYS} keys that are no names")
    return key


def _is_key(value: tuple[Any, ...], depth: int) -> bool:
    return len(value) <= MAX_KEY and all(
        type(v) in (str, bytes, int, float, bool, type(None))
        or (type(v) is tuple and depth > 1 and _is_key(v, depth - 1))
        for v in value
    )


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Key, Any]:
    match arguments:
        case ():
            return {}
        case (list() as pairs,):  # as Python 2 wrote it
            if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
                made: dict[Key, Any] = {}
                for key, value in pairs:
                    made[check_key(key, len(made))] = value
                pairs.clear()  # spent: a long list that many calls shared would be a bomb
                return made
    refuse("an OrderedDict is made from something else than pairs")


def _counter(arguments: tuple[Any, ...]) -> dict[Key, Any]:
    match arguments:
        case ():
            return {}
        case (dict() as counts,):
            return counts
    refuse("a Counter is made from something else than a dict")


def _set(arguments: tuple[Any, ...]) -> set[Key]:
    match arguments:
        case ():
            return set()
        case (list() as members,):
            made: set[Key] = set()
            for member in members:
                made.add(check_key(member, len(made)))
            members.clear()  # spent, as above
            return made
    refuse("a set is made from something else than a list")


def _bytes(arguments: tuple[Any, ...]) -> bytes:
    match arguments:
        case ():
            return b""
        case (str() as text, "latin1" | "latin-1"):  # as protocol 2 writes bytes
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                pass
    refuse("bytes are made from something else than their text")


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    match arguments:
        case (tuple() as sizes,):
            return sizes
    refuse("a torch.Size is made from something else than a tuple")


def _device(arguments: tuple[Any, ...]) -> str:
    match arguments:
        case (str() as name,) if len(name) <= 20:
            return name
        case (str() as name, int() as number) if len(name) <= 20 and 0 <= number < 2**31:
            return f"{name}:{number}"
    refuse("a torch.device is made from something else than its name and number")


def _tensor(arguments: tuple[Any, ...]) -> View:
    match arguments:
        case (Storage() as storage, int() as offset, tuple() as shape, tuple() as strides, *rest):
            # Then whether it wants a gradient, its hooks, and a dict that says whether
            # its elements are to be conjugated or negated.
            if len(rest) in (0, 2) or (len(rest) == 3 and rest[2] in ({}, None)):
                return View(storage, offset, shape, strides)
    refuse("a tensor is made from something else than a storage, an offset, sizes and strides")


def _parameter(arguments: tuple[Any, ...]) -> View:
    match arguments:
        case (View() as tensor,) | (View() as tensor, bool()) | (View() as tensor, bool(), dict()):
            return tensor
    refuse("a parameter is made from something else than a tensor")


NAMES: dict[str, Callee | ElementType | str] = {
    "collections OrderedDict": Callee(_ordered_dict),
    "collections Counter": Callee(_counter),
    "_codecs encode": Callee(_bytes),
    # The module of these was called so by Python 2, and is in pickles of protocol 2.
    **{f"{module} set": Callee(_set) for module in ("builtins", "__builtin__")},
    **{f"{module} bytes": Callee(_bytes) for module in ("builtins", "__builtin__")},
    "torch Size": Callee(_size),
    "torch device": Callee(_device),
    **{f"torch {name}": f"torch.{name}" for name in DTYPES},
    "torch._utils _rebuild_tensor": Callee(_tensor),
    "torch._utils _rebuild_tensor_v2": Callee(_tensor),
    "torch._utils _rebuild_parameter": Callee(_parameter),
    # Before PyTorch 0.4; from memory.
    "torch.nn.parameter Parameter": Callee(_parameter),
    **{f"torch {name}": element for name, element in ELEMENTS.items()},
    **{f"torch.cuda {name}": element for name, element in ELEMENTS.items()},
}
"""The values of names, by the argument of GLOBAL: the module, a blank, the name."""
