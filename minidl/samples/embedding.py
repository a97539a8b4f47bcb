"""Samples of embedding."""

import numpy as np

from minidl.samples import Sample

WORDS = np.array([[1, 4, 1], [0, 3, 3]])

SAMPLES = [
    Sample("embedding", "", lambda F, w: F.embedding(F.as_tensor(WORDS), w) ** 2, [(5, 3)]),
    Sample("embedding", "padding_idx",
           lambda F, w: F.embedding(F.as_tensor(WORDS), w, padding_idx=2) ** 2, [(5, 3)]),
]
