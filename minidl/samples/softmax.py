"""Samples of softmax and its logarithm."""

from minidl.samples import Sample

X = (4, 5)

SAMPLES = [
    Sample("softmax", "", lambda F, x: F.softmax(x, 1), [X]),
    Sample("softmax", "first axis", lambda F, x: F.softmax(x, 0), [(3, 2, 4)]),
    Sample("log_softmax", "", lambda F, x: F.log_softmax(x, dim=-1), [X]),
]
