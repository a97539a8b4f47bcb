"""Networks made narrower than published: every number of channels, times one factor."""

from __future__ import annotations


def scaled(channels: int, width: float) -> int:
    """So many channels times ``width``, at least one."""
    return max(1, round(channels * width))
