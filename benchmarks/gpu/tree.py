"""Makes ``minidl.models`` and ``minidl.kernels`` importable from a checkout.

They lie at the top of the repository; an installation maps them (setup.py). A GPU machine may have
a checkout and no installation.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def use() -> None:
    """Import minidl from this checkout, with all of its packages."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import minidl

    if find_spec("minidl.kernels") is None:
        minidl.__path__.append(str(ROOT))
