"""Samples of diagonals."""

from minidl.samples import Sample

SAMPLES = [
    Sample("diagonal", "", lambda F, x: F.diagonal(x) ** 2, [(3, 5)]),
    Sample("diagonal", "offset, axes", lambda F, x: F.diagonal(x, -1, 2, 0) ** 2, [(3, 2, 4)]),
]
