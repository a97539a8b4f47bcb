"""Samples of the reductions."""

from minidl.samples import Sample, apart

A = (2, 3, 4)

SAMPLES = [
    Sample("sum", "all", lambda F, x: F.sum(x), [A]),
    Sample("sum", "axes, keepdims", lambda F, x: F.sum(x, axis=(0, 2), keepdims=True), [A]),
    Sample("sum", "last axis", lambda F, x: F.sum(x, axis=-1), [A]),
    Sample("mean", "all", lambda F, x: F.mean(x), [A]),
    Sample("mean", "axes", lambda F, x: F.mean(x, axis=(1, 2)), [A]),
    Sample("var", "unbiased", lambda F, x: F.var(x, axis=1), [A]),
    Sample("var", "biased", lambda F, x: F.var(x, axis=(0, 2), correction=0), [A]),
    Sample("std", "", lambda F, x: F.std(x, axis=1, keepdims=True), [A]),
    Sample("max", "all", lambda F, x: F.max(x) ** 2, [A], apart),
    Sample("max", "axes", lambda F, x: F.max(x, axis=(0, 2)) ** 2, [A], apart,
           torch=lambda F, x: F.amax(x, dim=(0, 2)) ** 2),
    Sample("min", "axis, keepdims", lambda F, x: F.min(x, axis=1, keepdims=True) ** 2, [A], apart,
           torch=lambda F, x: F.amin(x, dim=1, keepdim=True) ** 2),
    Sample("prod", "all", lambda F, x: F.prod(x), [A]),
    Sample("prod", "axis", lambda F, x: F.prod(x, 1), [A]),
    Sample("prod", "axes, keepdims", lambda F, x: F.prod(x, axis=(0, 2), keepdims=True), [A],
           torch=lambda F, x: F.prod(F.prod(x, 0, True), 2, True)),
    Sample("cumsum", "", lambda F, x: F.cumsum(x, 1) ** 2, [A]),
    Sample("logsumexp", "axis", lambda F, x: F.logsumexp(x, axis=1), [A],
           torch=lambda F, x: F.logsumexp(x, dim=1)),
    Sample("logsumexp", "all", lambda F, x: F.logsumexp(x), [A],
           torch=lambda F, x: F.logsumexp(x, dim=(0, 1, 2))),
]
