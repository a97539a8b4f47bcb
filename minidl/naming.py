"""PyTorch says ``dim`` and ``keepdim``, NumPy ``axis`` and ``keepdims``: functions take both."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from minidl.errors import ArgumentError, message

F = TypeVar("F", bound=Callable[..., Any])

NUMPYS = {"dim": "axis", "keepdim": "keepdims"}
"""NumPy's name of an argument, by PyTorch's."""


def either_name(function: F) -> F:
    """Let a function that is written with NumPy's names take PyTorch's as well.

    Raises
    ------
    ArgumentError
        When it is called with both names of one argument.
    """

    @wraps(function)
    def named(*args: Any, **settings: Any) -> Any:
        if settings:
            for torchs, numpys in NUMPYS.items():
                if torchs in settings:
                    if numpys in settings:
                        raise ArgumentError(
                            message(f"{function.__name__}: {torchs} and {numpys} are one argument",
                                    f"received {settings}", hint="give one of the two.")
                        )
                    settings[numpys] = settings.pop(torchs)
        return function(*args, **settings)

    return named  # type: ignore[return-value]
