"""Packages that training can use and does not need."""

from __future__ import annotations

import importlib
from types import ModuleType

from minidl.errors import MinidlError, message


class MissingExtraError(MinidlError, ImportError):
    """Something was asked for that needs a package which is not installed."""


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
