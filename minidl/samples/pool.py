"""Samples of pooling and unpooling, on values without ties."""

from typing import Any

import numpy as np

from minidl.samples import Sample, apart

X = (2, 3, 7, 6)
INDICES = np.array([[[[0, 7], [13, 22]], [[6, 2], [18, 15]]]])


def _unpooled(F: Any, x: Any) -> Any:
    y, indices = F.max_pool2d(x, 2, 2, return_indices=True)
    return F.max_unpool2d(y * y, indices, 2, 2, output_size=X[2:])


SAMPLES = [
    Sample("max_pool2d", "", lambda F, x: F.max_pool2d(x, 2) ** 2, [X], apart),
    Sample("max_pool2d", "overlapping", lambda F, x: F.max_pool2d(x, (3, 2), 1) ** 2, [X], apart),
    Sample("max_pool2d", "padding and ceil_mode",
           lambda F, x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True) ** 2, [X], apart),
    Sample("max_pool2d", "dilation", lambda F, x: F.max_pool2d(x, 2, (2, 1), dilation=2) ** 2, [X],
           apart),
    Sample("max_pool2d", "one image", lambda F, x: F.max_pool2d(x, 2) ** 2, [X[1:]], apart),
    Sample("max_unpool2d", "indices of a pooling", _unpooled, [X], apart),
    Sample("max_unpool2d", "given indices",
           lambda F, x: F.max_unpool2d(x, F.as_tensor(INDICES), 2, 2, output_size=(5, 5)) ** 2,
           [INDICES.shape]),
    Sample("fixed_unpool2d", "", lambda F, x: F.fixed_unpool2d(x, (2, 3)) ** 2, [X], torch=False),
    Sample("avg_pool2d", "", lambda F, x: F.avg_pool2d(x, 2) ** 2, [X]),
    Sample("avg_pool2d", "padding and ceil_mode",
           lambda F, x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True) ** 2, [X]),
    Sample("avg_pool2d", "without counting padding",
           lambda F, x: F.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True, count_include_pad=False) ** 2,
           [X]),
    Sample("avg_pool2d", "divisor", lambda F, x: F.avg_pool2d(x, 3, 1, 1, divisor_override=5) ** 2,
           [X]),
    Sample("adaptive_avg_pool2d", "", lambda F, x: F.adaptive_avg_pool2d(x, (3, 4)) ** 2, [X]),
    Sample("adaptive_avg_pool2d", "larger", lambda F, x: F.adaptive_avg_pool2d(x, (9, 5)) ** 2,
           [X]),
]
