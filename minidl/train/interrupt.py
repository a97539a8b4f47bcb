"""Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """A flag that is true once somebody has asked the program to stop."""

    def __init__(self) -> None:
        self.requested = False

    def __bool__(self) -> bool:
        return self.requested


@contextmanager
def held_interrupt() -> Iterator[Interrupt]:
    """Only note the first SIGINT inside the block; leave the second one to Python.

    Where signals cannot be caught (another thread than the main one) or are ignored
    on purpose (a background job), nothing is changed.
    """
    interrupt = Interrupt()
    usual = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, usual)

    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield interrupt
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, usual)
