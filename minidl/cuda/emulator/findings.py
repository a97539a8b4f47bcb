"""What is wrong with a kernel, whoever found it: tracing, or one of the compiler's sanitizers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a kernel.

    Attributes
    ----------
    kind : {"race", "overrun", "unwritten", "misaligned", "write to const", "barrier", "fault"}
    kernel : str
        The kernel's name.
    place : str
        The line of the source at which it showed, such as ``"conv.cu:123"``.
    text : str
        What happened there, in several lines: arrays and threads by name.
    """

    kind: str
    kernel: str
    place: str
    text: str
