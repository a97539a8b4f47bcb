"""Why a file is not read."""

from __future__ import annotations

from typing import NoReturn


class Refusal(Exception):
    """A file, or a part of it, that will not be read; the text says why."""


def refuse(reason: str) -> NoReturn:
    """Give up on the file."""
    raise Refusal(reason)
