"""The names that a weight file may use, and what they stand for here.

    name in the pickle               here
    collections.OrderedDict          a dict
    torch.FloatStorage and others    an ElementType
    torch._utils._rebuild_tensor*    a View
    torch._utils._rebuild_parameter, torch.nn.parameter.Parameter   their tensor

These are functions of our own that look at what they are given. Nothing of these
names is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from minidl.files.torch_files.refusal import refuse
from minidl.files.torch_files.tensors import ELEMENTS, ElementType, Storage, View

Key = str | int
"""The key of a dict that a pickle may build."""


class Callee(NamedTuple):
    """A function that a pickle may call, with a tuple of arguments."""

    call: Callable[[tuple[Any, ...]], Any]


def check_key(key: Any) -> Key:
    """Refuse keys other than strings and integers of 32 bits.

    Longer integers could be chosen so that all keys fall into one slot of the dict's table.
    """
    if type(key) is str or (type(key) is int and -(2**31) <= key < 2**31):
        return key
    refuse(f"its pickle has a dict with a {type(key).__name__} as a key")


def _ordered_dict(arguments: tuple[Any, ...]) -> dict[Key, Any]:
    match arguments:
        case ():
            return {}
        case (list() as pairs,):  # as Python 2 wrote it
            if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
                made = {check_key(key): value for key, value in pairs}
                pairs.clear()  # spent: a long list that many calls shared would be a bomb
                return made
    refuse("an OrderedDict is made from something else than pairs")


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


NAMES: dict[str, Callee | ElementType] = {
    "collections OrderedDict": Callee(_ordered_dict),
    "torch._utils _rebuild_tensor": Callee(_tensor),
    "torch._utils _rebuild_tensor_v2": Callee(_tensor),
    "torch._utils _rebuild_parameter": Callee(_parameter),
    # Before PyTorch 0.4; from memory.
    "torch.nn.parameter Parameter": Callee(_parameter),
    **{f"torch {name}": element for name, element in ELEMENTS.items()},
    **{f"torch.cuda {name}": element for name, element in ELEMENTS.items()},
}
"""The values of names, by the argument of GLOBAL: the module, a blank, the name."""
