"""Where models/, kernels/ and examples/ lie: inside the package in a wheel, else beside it.

Readers look for them at the top of the repository; Python knows them as ``minidl.models`` and so
on, as every second project has packages of these names.
"""

from __future__ import annotations

import os.path
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pathlib costs a tenth of what importing minidl does, and is needed later
    from pathlib import Path

PACKAGE = os.path.dirname(os.path.dirname(__file__))
"""The folder of the package ``minidl``."""

FOLDERS = ("models", "kernels", "examples")
"""The folders at the top that are parts of the package."""


def top_folder(name: str) -> Path:
    """Find the folder of this name, in an installed package or at the top of the checkout."""
    from pathlib import Path

    installed = Path(PACKAGE, name)
    return installed if installed.is_dir() else Path(PACKAGE).parent / name


class TopFolders:
    """A finder of modules for ``sys.meta_path``: ``minidl.models`` is models/ of the checkout."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module, if it is one of ``FOLDERS``."""
        package, _, folder = name.rpartition(".")
        if package != "minidl" or folder not in FOLDERS:
            return None
        return PathFinder.find_spec(name, [os.path.dirname(PACKAGE)])


def make_importable() -> None:
    """Let Python find the folders at the top; it finds those inside the package by itself."""
    if not os.path.isdir(os.path.join(PACKAGE, "kernels")) and TopFolders not in sys.meta_path:
        sys.meta_path.append(TopFolders)
