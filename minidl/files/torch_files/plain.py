"""The last step: what the machine has made, as plain values and arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.files.torch_files.refusal import refuse
from minidl.files.torch_files.tensors import View

MAX_DEPTH = 64
"""Deepest nesting of the values."""

MAX_VALUES = 1_000_000
"""Most values, each counted in all its places: thirty lists, each of which holds the
next one twice, are a billion."""

_SCALARS = (str, bytes, int, float, bool, type(None))
"""Values that are what they are; a set holds only such, and tuples of them."""


def plain(value: Any) -> Any:
    """Turn every View inside a value into an array; the storages are filled by now.

    Containers come back as copies, each in one place only. A tensor under two names
    is one array.
    """
    _measure(value, 0, {})
    return _copy(value, {})


def _measure(value: Any, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Count the values inside this one, and how deep they are nested.

    What is in several places is measured once, so this takes no longer than the
    machine took; the numbers count it in all its places.
    """
    if id(value) not in known:
        if depth > MAX_DEPTH:  # a list that holds itself ends here, too
            refuse(f"its values are nested deeper than {MAX_DEPTH}")
        inside = [_measure(item, depth + 1, known) for item in _items(value)]
        size = 1 + sum(size for size, _ in inside)
        known[id(value)] = size, 1 + max((height for _, height in inside), default=0)
    size, height = known[id(value)]
    if size > MAX_VALUES or depth + height > MAX_DEPTH + 1:
        refuse(f"its values are more than {MAX_VALUES}, or nested deeper than {MAX_DEPTH}")
    return size, height


def _items(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return value.values()
    if kind is list or kind is tuple:
        return value
    if kind is set:
        return value
    if kind is View or kind in _SCALARS:
        return ()
    refuse(f"it holds a {kind.__name__}, which is neither a tensor nor a plain value")


def _copy(value: Any, arrays: dict[int, np.ndarray]) -> Any:
    kind = type(value)
    if kind is View:
        if id(value) not in arrays:
            arrays[id(value)] = value.array()
        return arrays[id(value)]
    if kind is dict:
        return {key: _copy(item, arrays) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind(_copy(item, arrays) for item in value)
    if kind is set:
        return set(value)
    return value
