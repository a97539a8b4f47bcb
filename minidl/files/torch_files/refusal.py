"""Why a file is not read."""

from __future__ import annotations

from typing import NoReturn


class Refusal(Exception):
    """An error that says why a file, or a part of it, will not be read.

    Parameters
    ----------
    reason : str
    hint : str
        What would mend it; empty where only another copy of the file would.
    """

    def __init__(self, reason: str, hint: str = ""):
        super().__init__(reason)
        self.hint = hint


def refuse(reason: str, hint: str = "") -> NoReturn:
    """Give up on the file for this reason."""
    raise Refusal(reason, hint)
