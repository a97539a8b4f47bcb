"""Samples of sorting; where the elements lie has no derivative."""

from minidl.samples import Sample, apart

A = (3, 4, 2)

SAMPLES = [
    Sample("sort", "last axis", lambda F, x: F.sort(x)[0] ** 2, [A], apart),
    Sample("sort", "descending", lambda F, x: F.sort(x, 1, True)[0] ** 2, [A], apart),
    Sample("topk", "largest", lambda F, x: F.topk(x, 2, 1)[0] ** 2, [A], apart),
    Sample("topk", "smallest, first axis", lambda F, x: F.topk(x, 2, 0, largest=False)[0] ** 2,
           [A], apart),
]
