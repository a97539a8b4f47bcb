"""Samples of the losses."""

from typing import Any

import numpy as np

from minidl.samples import Sample, normal, probabilities

LABELS = np.array([2, 0, 3, 2])
SOME_IGNORED = np.array([2, -100, 3, 2])
SPATIAL = np.array([[[0, 2, 1], [1, -100, 2]], [[2, 2, 0], [1, 0, 0]]])
WEIGHT = np.array([0.3, 0.9, 0.5, 0.1, 0.7])
X, IMAGES = (4, 5), (2, 3, 2, 3)


def _labels(F: Any, values: np.ndarray) -> Any:
    return F.as_tensor(values)


def _weight(F: Any, x: Any) -> Any:
    """Return the fixed weights of the classes, in the dtype of x."""
    return F.as_tensor(WEIGHT.astype(str(x.dtype).split(".")[-1]))


SAMPLES = [
    Sample("mse_loss", "", lambda F, x, t: F.mse_loss(x, t), [X, X]),
    Sample("mse_loss", "none", lambda F, x, t: F.mse_loss(x, t, reduction="none"), [X, X]),
    Sample("l1_loss", "", lambda F, x, t: F.l1_loss(x, t, reduction="sum"), [X, X]),
    Sample("smooth_l1_loss", "", lambda F, x, t: F.smooth_l1_loss(x, t, beta=0.7), [X, X]),
    Sample("huber_loss", "", lambda F, x, t: F.huber_loss(x, t, delta=0.7), [X, X]),
    Sample("binary_cross_entropy", "", lambda F, x, t: F.binary_cross_entropy(x, t), [X, X],
           probabilities),
    Sample("binary_cross_entropy", "weight",
           lambda F, x, t: F.binary_cross_entropy(x, t, _weight(F, x), reduction="sum"),
           [X, X], probabilities),
    Sample("binary_cross_entropy_with_logits", "",
           lambda F, x, t: F.binary_cross_entropy_with_logits(x, t), [X, X],
           [normal, probabilities]),
    Sample("binary_cross_entropy_with_logits", "pos_weight",
           lambda F, x, t: F.binary_cross_entropy_with_logits(
               x, t, reduction="sum", pos_weight=_weight(F, x)),
           [X, X], [normal, probabilities]),
    Sample("kl_div", "sum", lambda F, x, t: F.kl_div(x, t, reduction="sum"), [X, X],
           [normal, probabilities]),
    Sample("kl_div", "batchmean of logarithms",
           lambda F, x, t: F.kl_div(x, t, reduction="batchmean", log_target=True), [X, X]),
    Sample("nll_loss", "", lambda F, x: F.nll_loss(x, _labels(F, LABELS)), [X]),
    Sample("cross_entropy", "", lambda F, x: F.cross_entropy(x, _labels(F, LABELS)), [X]),
    Sample("cross_entropy", "ignore_index and weight",
           lambda F, x: F.cross_entropy(x, _labels(F, SOME_IGNORED), _weight(F, x)), [X]),
    Sample("cross_entropy", "smoothing and weight",
           lambda F, x: F.cross_entropy(x, _labels(F, SOME_IGNORED), _weight(F, x),
                                        label_smoothing=0.2), [X]),
    Sample("cross_entropy", "spatial",
           lambda F, x: F.cross_entropy(x, _labels(F, SPATIAL), label_smoothing=0.1), [IMAGES]),
    Sample("cross_entropy", "spatial, none",
           lambda F, x: F.cross_entropy(x, _labels(F, SPATIAL), reduction="none"), [IMAGES]),
    Sample("cross_entropy", "probabilities",
           lambda F, x, t: F.cross_entropy(x, F.softmax(t, 1), label_smoothing=0.3), [X, X]),
    Sample("cross_entropy", "probabilities and weight",
           lambda F, x, t: F.cross_entropy(x, F.softmax(t, 1), _weight(F, x), label_smoothing=0.3,
                                           reduction="sum"), [X, X]),
    Sample("cross_entropy", "one example",
           lambda F, x: F.cross_entropy(x, _labels(F, LABELS[0])), [(5,)]),
]
