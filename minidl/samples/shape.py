"""Samples of reshaping, joining, splitting, padding and indexing."""

import numpy as np

from minidl.samples import Sample

A, IMAGE = (2, 3, 4), (2, 3, 4, 5)
ROWS = np.array([2, 0, 2])
MASK = np.array([True, False, True])
PLACES = np.array([[[0, 2, 2]], [[1, 1, 0]]])


def _places(F):
    """The index array, as the namespace wants it."""
    return F.as_tensor(PLACES)


SAMPLES = [
    Sample("reshape", "", lambda F, x: F.reshape(x, (4, -1)) ** 2, [A]),
    Sample("flatten", "", lambda F, x: F.flatten(x, 1) ** 2, [A]),
    Sample("transpose", "", lambda F, x: F.transpose(x, 0, 2) ** 2, [A]),
    Sample("permute", "", lambda F, x: F.permute(x, (2, 0, 1)) ** 2, [A]),
    Sample("moveaxis", "", lambda F, x: F.moveaxis(x, (0, 1), (2, 0)) ** 2, [A]),
    Sample("squeeze", "", lambda F, x: F.squeeze(x) ** 2, [(1, 3, 1, 2)]),
    Sample("squeeze", "axis", lambda F, x: F.squeeze(x, 2) ** 2, [(1, 3, 1, 2)]),
    Sample("unsqueeze", "", lambda F, x: F.unsqueeze(x, 1) ** 2, [A]),
    Sample("expand", "", lambda F, x: x.expand((2, 3, 4)) ** 2, [(3, 1)]),
    Sample("cat", "", lambda F, x, y: F.cat([x, y], 1) ** 2, [(2, 3), (2, 4)]),
    Sample("stack", "", lambda F, x, y: F.stack([x, y], 1) ** 2, [(2, 3), (2, 3)]),
    Sample("split", "equal", lambda F, x: F.split(x, 2, 1)[0] * F.split(x, 2, 1)[1], [(3, 4)]),
    Sample("split", "sizes", lambda F, x: F.split(x, [1, 3], 1)[1] ** 2, [(3, 4)]),
    Sample("pad", "constant", lambda F, x: F.pad(x, (1, 2, 0, 3), value=2.0) ** 2, [IMAGE]),
    Sample("pad", "crop", lambda F, x: F.pad(x, (-1, 2, 1, -1)) ** 2, [IMAGE]),
    Sample("pad", "reflect", lambda F, x: F.pad(x, (1, 3, 2, 0), mode="reflect") ** 2, [IMAGE]),
    Sample("pad", "replicate", lambda F, x: F.pad(x, (1, 6, 2, 0), mode="replicate") ** 2, [IMAGE]),
    Sample("pad", "circular", lambda F, x: F.pad(x, (1, 3, 2, 0), mode="circular") ** 2, [IMAGE]),
    Sample("getitem", "slices", lambda F, x: x[:, 1:, ::2] ** 2, [A]),
    Sample("getitem", "integers and None", lambda F, x: x[1, None, ..., -1] ** 2, [A]),
    Sample("getitem", "repeated rows", lambda F, x: x[:, ROWS] ** 2, [A]),
    Sample("getitem", "bool mask", lambda F, x: x[:, MASK] ** 2, [A]),
    Sample("take", "", lambda F, x: F.take(x, ROWS, 1) ** 2, [A],
           torch=lambda F, x: x[:, ROWS] ** 2),
    Sample("take_along_axis", "", lambda F, x: F.take_along_axis(x, _places(F), 2) ** 2,
           [(2, 1, 3)], torch=lambda F, x: F.gather(x, 2, _places(F)) ** 2),
]
