"""Samples of softmax, the losses and the likelihoods."""

import numpy as np

from minidl.samples import Sample, apart, normal, probabilities

LABELS = np.array([2, 0, 3, 2])
SOME = np.array([2, -100, 3, 2])
SPATIAL = np.array([[[0, 2, 1], [1, -100, 2]], [[2, 2, 0], [1, 0, 0]]])
WEIGHT = np.array([0.3, 0.9, 0.5, 0.1, 0.7])
X, PIXELS = (4, 5), (2, 3, 2, 3)


def _labels(F, values):
    return F.as_tensor(values)


def _weight(F, x):
    """Fixed weights, in the dtype of x."""
    return F.as_tensor(WEIGHT.astype(str(x.dtype).split(".")[-1]))


SAMPLES = [
    Sample("softmax", "", lambda F, x: F.softmax(x, 1), [X]),
    Sample("softmax", "first axis", lambda F, x: F.softmax(x, 0), [(3, 2, 4)]),
    Sample("log_softmax", "", lambda F, x: F.log_softmax(x, dim=-1), [X]),
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
    Sample("nll_loss", "", lambda F, x: F.nll_loss(x, _labels(F, LABELS)), [X]),
    Sample("cross_entropy", "", lambda F, x: F.cross_entropy(x, _labels(F, LABELS)), [X]),
    Sample("cross_entropy", "ignore_index and weight",
           lambda F, x: F.cross_entropy(x, _labels(F, SOME), _weight(F, x)), [X]),
    Sample("cross_entropy", "smoothing and weight",
           lambda F, x: F.cross_entropy(x, _labels(F, SOME), _weight(F, x), label_smoothing=0.2),
           [X]),
    Sample("cross_entropy", "spatial",
           lambda F, x: F.cross_entropy(x, _labels(F, SPATIAL), label_smoothing=0.1), [PIXELS]),
    Sample("cross_entropy", "spatial, none",
           lambda F, x: F.cross_entropy(x, _labels(F, SPATIAL), reduction="none"), [PIXELS]),
    Sample("cross_entropy", "probabilities",
           lambda F, x, t: F.cross_entropy(x, F.softmax(t, 1), label_smoothing=0.3), [X, X]),
    Sample("cross_entropy", "probabilities and weight",
           lambda F, x, t: F.cross_entropy(x, F.softmax(t, 1), _weight(F, x), label_smoothing=0.3,
                                           reduction="sum"), [X, X]),
    Sample("cross_entropy", "one example",
           lambda F, x: F.cross_entropy(x, _labels(F, LABELS[0])), [(5,)]),
    Sample("bernoulli_log_likelihood", "",
           lambda F, x, s: F.bernoulli_log_likelihood(x, s), [X, X], [probabilities, normal],
           torch=lambda F, x, s: -F.binary_cross_entropy_with_logits(s, x, reduction="none")),
    Sample("gaussian_log_likelihood", "",
           lambda F, x, m, s: F.gaussian_log_likelihood(x, m, s), [X, X, (5,)],
           torch=lambda F, x, m, s: F.distributions.Normal(m, F.exp(s / 2)).log_prob(x)),
    Sample("gaussian_kl", "", lambda F, m, s: F.gaussian_kl(m, s), [X, X],
           torch=lambda F, m, s: F.distributions.kl_divergence(
               F.distributions.Normal(m, F.exp(s / 2)),
               F.distributions.Normal(0 * m, 1 + 0 * s))),
    Sample("gaussian_kl", "two Gaussians", lambda F, m, s, p, q: F.gaussian_kl(m, s, p, q),
           [X, X, X, X],
           torch=lambda F, m, s, p, q: F.distributions.kl_divergence(
               F.distributions.Normal(m, F.exp(s / 2)), F.distributions.Normal(p, F.exp(q / 2)))),
    Sample("gram_matrix", "", lambda F, x: F.gram_matrix(x), [PIXELS],
           torch=lambda F, x: F.einsum("nahw,nbhw->nab", x, x)),
    Sample("gram_matrix", "normalize", lambda F, x: F.gram_matrix(x, normalize=True), [PIXELS],
           torch=lambda F, x: F.einsum("nahw,nbhw->nab", x, x) / 18),
    Sample("total_variation", "", lambda F, x: F.total_variation(x), [PIXELS], apart, torch=False),
    Sample("total_variation", "squares", lambda F, x: F.total_variation(x, 2), [PIXELS],
           torch=False),
]
