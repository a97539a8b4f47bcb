"""Samples of the matrix products."""

from minidl.samples import Sample

SAMPLES = [
    Sample("matmul", "matrices", lambda F, x, w: x @ w, [(2, 3), (3, 4)]),
    Sample("matmul", "batches", lambda F, x, w: x @ w, [(5, 1, 2, 3), (4, 3, 2)]),
    Sample("matmul", "vector and matrix", lambda F, x, w: x @ w, [(3,), (3, 4)]),
    Sample("matmul", "matrix and vector", lambda F, x, w: x @ w, [(2, 3), (3,)]),
    Sample("matmul", "vectors", lambda F, x, w: x @ w, [(3,), (3,)]),
    Sample("bmm", "", lambda F, x, w: F.bmm(x, w), [(5, 2, 3), (5, 3, 4)]),
    Sample("linear", "bias", lambda F, x, w, b: F.linear(x, w, b), [(2, 3), (4, 3), (4,)]),
    Sample("linear", "more axes", lambda F, x, w: F.linear(x, w), [(2, 5, 3), (4, 3)]),
]
