"""Why a file is not read."""

from __future__ import annotations

from typing import NoReturn


class Refusal(Exception):
    """An error that says why a file, or a part of it, will not be read."""


def refuse(reason: str) -> NoReturn:
    """Give up on the file for this reason."""
    raise Refusal(reason)
