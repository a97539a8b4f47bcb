"""Samples of the lengths of vectors."""

from math import inf

from minidl.samples import Sample, apart

A = (2, 3, 4)

SAMPLES = [
    Sample("norm", "all", lambda F, x: F.norm(x), [A]),
    Sample("norm", "axes, keepdims", lambda F, x: F.norm(x, 2, (0, 2), keepdims=True), [A],
           torch=lambda F, x: F.norm(x, 2, (0, 2), keepdim=True)),
    Sample("norm", "p of 3", lambda F, x: F.norm(x, 3, 1), [A], apart),
    Sample("norm", "p of 1", lambda F, x: F.norm(x, 1, 1), [A], apart),
    Sample("norm", "p of infinity", lambda F, x: F.norm(x, inf, 1) ** 2, [A], apart),
    Sample("normalize", "", lambda F, x: F.normalize(x), [A]),
    Sample("normalize", "p of 1, last axis", lambda F, x: F.normalize(x, 1.0, -1), [A], apart),
]
