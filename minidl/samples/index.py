"""Samples of reading elements: by slices, by masks, by arrays of places."""

from typing import Any

import numpy as np

from minidl.samples import Sample

A = (2, 3, 4)
ROWS = np.array([2, 0, 2])
MASK = np.array([True, False, True])
PLACES = np.array([[[0, 2, 2]], [[1, 1, 0]]])


def _places(F: Any) -> Any:
    return F.as_tensor(PLACES)


SAMPLES = [
    Sample("getitem", "slices", lambda F, x: x[:, 1:, ::2] ** 2, [A]),
    Sample("getitem", "integers and None", lambda F, x: x[1, None, ..., -1] ** 2, [A]),
    Sample("getitem", "repeated rows", lambda F, x: x[:, ROWS] ** 2, [A]),
    Sample("getitem", "bool mask", lambda F, x: x[:, MASK] ** 2, [A]),
    Sample("take", "", lambda F, x: F.take(x, ROWS, 1) ** 2, [A],
           torch=lambda F, x: x[:, ROWS] ** 2),
    Sample("take_along_axis", "", lambda F, x: F.take_along_axis(x, _places(F), 2) ** 2,
           [(2, 1, 3)], torch=lambda F, x: F.gather(x, 2, _places(F)) ** 2),
    Sample("gather", "", lambda F, x: F.gather(x, 2, _places(F)) ** 2, [(3, 2, 3)]),
]
