"""The errors minidl raises, and the one form they are written in.

An error says who refused, what is wrong, what was received (with the names of
the axes), and what would mend it::

    ShapeError: conv2d: x and weight disagree on the number of channels C
        x has shape (2, 3, 32, 32), read as (N, C, H, W), so C = 3
        weight has shape (8, 4, 3, 3), read as (O, C, K, L), so C = 4
        Hint: weight.shape[1] must equal x.shape[1] / groups.

Each class also inherits the built-in error that a NumPy user would expect, so
``except ValueError`` keeps working.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class MinidlError(Exception):
    """Base of every error that minidl raises on purpose."""


class ShapeError(MinidlError, ValueError):
    """Arrays whose shapes do not fit together."""


class DtypeError(MinidlError, TypeError):
    """An array of a type that the operation cannot take."""


class ArgumentError(MinidlError, ValueError):
    """A setting outside what the operation accepts."""


class PlaceError(ArgumentError, IndexError):
    """An index where there is no element."""


class GradientError(MinidlError, RuntimeError):
    """A derivative that was asked for and does not exist."""


class DeviceError(MinidlError, RuntimeError):
    """A device that this machine does not have, or arrays on different ones."""


class KernelError(MinidlError, RuntimeError):
    """A kernel that does not compile, or did something wrong while it ran."""


class DataError(MinidlError, ValueError):
    """A data file that is missing, damaged, or not what it claims to be."""


class CheckpointError(MinidlError, RuntimeError):
    """A checkpoint or weight file that cannot be used."""


class MissingExtraError(MinidlError, ImportError):
    """A package that minidl can use and does not need, asked for and not installed."""


def message(headline: str, *facts: str, hint: str = "") -> str:
    """Lay out an error: the headline, then the facts and the hint, indented."""
    lines = [headline, *(f"    {fact}" for fact in facts)]
    if hint:
        lines.append(f"    Hint: {hint}")
    return "\n".join(lines)


def import_extra(module: str, extra: str, asker: str) -> ModuleType:
    """Import a module at its first use; if it is missing, say what to install.

    Raises
    ------
    MissingExtraError
        If the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        raise MissingExtraError(
            message(
                f"{asker}: {module.partition('.')[0]} could not be imported",
                str(cause),
                hint=f"pip install 'minidl[{extra}]'",
            )
        ) from cause
