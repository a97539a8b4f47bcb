"""Samples of copies side by side, and of turning around."""

from minidl.samples import Sample

A = (2, 3, 4)

SAMPLES = [
    Sample("tile", "", lambda F, x: F.tile(x, (2, 1, 3)) ** 2, [A]),
    Sample("tile", "new axes", lambda F, x: F.tile(x, (2, 1, 3)) ** 2, [(3, 2)]),
    Sample("flip", "", lambda F, x: F.flip(x, (0, -1)) ** 2, [A]),
]
