"""Samples of normalisation."""

from typing import Any

import numpy as np

from minidl.samples import Sample, positive

X, C = (4, 3, 2, 5), (3,)
MEAN, VARIANCE = np.array([0.5, -1.0, 0.0]), np.array([1.5, 0.5, 2.0])


def _evaluated(F: Any, x: Any, w: Any, b: Any) -> Any:
    """Normalise by fixed running statistics, in the dtype of x."""
    statistics = (F.as_tensor(s.astype(str(x.dtype).split(".")[-1])) for s in (MEAN, VARIANCE))
    return F.batch_norm(x, *statistics, w, b)


def _known(F: Any, x: Any, w: Any, b: Any) -> Any:
    statistics = (F.as_tensor(s.astype(str(x.dtype).split(".")[-1])) for s in (MEAN, VARIANCE))
    return F.instance_norm(x, *statistics, w, b, use_input_stats=False)


SAMPLES = [
    Sample("batch_norm", "training",
           lambda F, x, w, b: F.batch_norm(x, None, None, w, b, training=True), [X, C, C]),
    Sample("batch_norm", "vectors", lambda F, x: F.batch_norm(x, None, None, training=True),
           [(5, 3)]),
    Sample("batch_norm", "running statistics", _evaluated, [X, C, C]),
    Sample("instance_norm", "", lambda F, x: F.instance_norm(x), [X]),
    Sample("instance_norm", "affine", lambda F, x, w, b: F.instance_norm(x, weight=w, bias=b),
           [X, C, C]),
    Sample("instance_norm", "running statistics", _known, [X, C, C]),
    Sample("layer_norm", "", lambda F, x, w, b: F.layer_norm(x, (2, 5), w, b, 1e-3),
           [X, (2, 5), (2, 5)]),
    Sample("group_norm", "", lambda F, x, w, b: F.group_norm(x, 2, w, b),
           [(2, 4, 3, 2), (4,), (4,)]),
    Sample("local_response_norm", "",
           lambda F, x: F.local_response_norm(x, 3, alpha=0.5, k=2.0), [(2, 6, 2, 3)]),
    Sample("local_response_norm", "even size",
           lambda F, x: F.local_response_norm(x, 4, 0.1, 0.5, 1.5), [(2, 6, 3)],
           draw=[positive]),
]
