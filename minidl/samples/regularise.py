"""Samples of dropout (its numbers fixed by a seed) and embedding."""

import numpy as np

from minidl import random
from minidl.samples import Sample

WORDS = np.array([[1, 4, 1], [0, 3, 3]])


def _seeded(function):
    """The call with the same random numbers every time; the generator is left as it was."""

    def call(F, x):
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
    Sample("embedding", "", lambda F, w: F.embedding(F.as_tensor(WORDS), w) ** 2, [(5, 3)]),
    Sample("embedding", "padding_idx",
           lambda F, w: F.embedding(F.as_tensor(WORDS), w, padding_idx=2) ** 2, [(5, 3)]),
]
