"""Networks made narrower than published: every number of channels, times one factor."""

from __future__ import annotations


def scaled(channels: int, width: float) -> int:
    """The number of channels times ``width``, rounded, at least one."""
    return max(1, round(channels * width))
