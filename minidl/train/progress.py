"""A run's words to the person who waits: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm

PAUSE = 10.0
"""Seconds between two lines, at least."""


class Progress:
    """The progress of a run, on standard error.

    Parameters
    ----------
    epochs : int
        The number of epochs in the end.
    shown : bool
        False for silence.
    """

    def __init__(self, epochs: int, shown: bool):
        self.epochs, self.shown = epochs, shown
        self.terminal = shown and sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._said = time.monotonic()
        self._place, self._length = "", ""

    def tell(self, text: str) -> None:
        """Write a line, whatever the time."""
        if self.shown:
            tqdm.write(text, file=sys.stderr)
            self._said = time.monotonic()

    def begin_epoch(self, epoch: int, done: int, length: int | None) -> None:
        """Begin an epoch of which ``done`` steps are taken."""
        self.begin(f"epoch {epoch}/{self.epochs}", done, length)

    def begin(self, place: str, done: int, length: int | None) -> None:
        """Begin what is called ``place``, of which ``done`` steps are taken."""
        self._place, self._length = place, f"/{length}" if length else ""
        if self.terminal:
            self._bar = tqdm(total=length, initial=done, desc=self._place)

    @property
    def waits(self) -> bool:
        """Whether a step would be shown now: where its loss has to be fetched for that."""
        return self._bar is not None or self._is_due()

    def step(self, done: int, loss: float) -> None:
        """Count the steps up to this one, the ``done``-th of its epoch."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            self._bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
        elif self._is_due():
            self.tell(f"{self._place}, step {done}{self._length}: loss {loss:.4g}")

    def close(self) -> None:
        """Leave the bar of an epoch as it is; a second call does nothing."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def end_epoch(self, row: Mapping[str, Any], last: bool) -> None:
        """Say what an epoch has brought, if it is time or the last one."""
        if not self.terminal and (last or self._is_due()):
            numbers = [f"{k} {v:.4g}" for k, v in row.items()
                       if k not in ("event", "epoch", "step") and isinstance(v, int | float)]
            self.tell(f"{self._place}: {', '.join(numbers)}")

    def _is_due(self) -> bool:
        return self.shown and time.monotonic() - self._said >= PAUSE
