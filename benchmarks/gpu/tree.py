"""Makes minidl importable from a checkout: a GPU machine may have no installation of it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def use() -> None:
    """Import minidl from this checkout."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
