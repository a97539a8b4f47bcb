"""How far a long loop is, told to the person who waits: work of half a minute is never silent."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from typing import TypeVar

T = TypeVar("T")

PAUSE = 10.0
"""Seconds between two lines, at least, and before the first."""


def watched(items: Collection[T], what: str, shown: bool = True) -> Iterator[T]:
    """Go through items, and say on standard error how many are done.

    On a terminal a bar shows it, once the loop has taken a second; elsewhere a line comes every
    ``PAUSE`` seconds. So a quick loop says nothing.

    Parameters
    ----------
    items : sequence, or another collection
    what : str
        The name of the loop, or of its items.
    shown : bool
        False for silence.

    >>> [n * n for n in watched(range(4), "squares")]
    [0, 1, 4, 9]
    """
    if not shown or sys.stderr is None:
        yield from items
    elif sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, delay=1.0)
    else:
        said = time.monotonic()
        for done, item in enumerate(items):
            if time.monotonic() - said >= PAUSE:
                print(f"{what}: {done} of {len(items)}", file=sys.stderr, flush=True)
                said = time.monotonic()
            yield item
