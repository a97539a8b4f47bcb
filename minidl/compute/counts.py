"""Numbers that count: sizes, repetitions, axes. What is no whole number is refused, not cut off."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from minidl.errors import ArgumentError, message


def whole(name: str, value: Any, least: int | None = 0) -> int:
    """Read a number that counts, called ``name`` in the error.

    Python's integers and NumPy's are taken. Bools are not, since True in the place of a size is
    an argument in the wrong place; nor floats, since 2.5 would become 2.

    Raises
    ------
    ArgumentError
        If it is no integer, or below ``least``.
    """
    if type(value) is not int:
        try:
            number = None if isinstance(value, bool) else operator.index(value)
        except TypeError:
            number = None
    else:
        number = value
    if number is None or (least is not None and number < least):
        raise ArgumentError(
            message(
                f"{name} must be an integer" + ("" if least is None else f", at least {least}"),
                f"received {value!r}",
                hint="write a // b for a size that is a quotient: it stays an integer."
                if isinstance(value, float) else "",
            )
        )
    return number


def wholes(name: str, values: Iterable[Any], least: int | None = 0) -> tuple[int, ...]:
    """Read several numbers that count, such as a shape; ``name`` is that of one of them."""
    return tuple([whole(name, value, least) for value in values])


def axis_of(who: str, axis: int, ndim: int) -> int:
    """Count an axis from the front, and check it.

    Raises
    ------
    ArgumentError
        If there is no such axis.
    """
    if type(axis) is not int:
        axis = whole(f"{who}: an axis", axis, None)
    if not -ndim <= axis < ndim:
        raise ArgumentError(
            message(f"{who}: axis {axis} does not exist", f"there are {ndim} axes")
        )
    return axis % ndim


def distinct(who: str, axes: Sequence[int]) -> Sequence[int]:
    """Return axes, of which none may be named twice, from the front or from the back.

    Raises
    ------
    ArgumentError
        If one is.
    """
    if len(set(axes)) < len(axes):
        raise ArgumentError(
            message(f"{who}: an axis is named twice", f"counted from the front: {list(axes)}")
        )
    return axes
