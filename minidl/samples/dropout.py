"""Samples of dropout, its random numbers fixed by a seed."""

from collections.abc import Callable
from typing import Any

from minidl import random
from minidl.samples import Sample


def _seeded(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Draw the same random numbers at every call, and leave the generator as it was."""

    def call(F: Any, x: Any) -> Any:
        state = random.get_state()
        random.manual_seed(1)
        try:
            return function(F, x)
        finally:
            random.set_state(state)

    return call


SAMPLES = [
    Sample("dropout", "training", _seeded(lambda F, x: F.dropout(x, 0.3) ** 2), [(3, 4)],
           torch=False),
    Sample("dropout", "not training", lambda F, x: F.dropout(x, 0.3, training=False) ** 2,
           [(3, 4)]),
    Sample("dropout2d", "training", _seeded(lambda F, x: F.dropout2d(x, 0.5) ** 2), [(3, 4, 2, 2)],
           torch=False),
]
