"""Where the folders lie that are at the top of the repository, or in an installed package."""

from __future__ import annotations

from pathlib import Path


def top_folder(name: str) -> Path:
    """kernels/ or examples/ of the repository, or ``minidl/kernels`` and so on once installed."""
    package = Path(__file__).parent
    installed = package / name
    return installed if installed.is_dir() else package.parent / name
