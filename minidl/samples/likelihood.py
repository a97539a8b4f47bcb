"""Samples of the likelihoods and of the divergence between Gaussians."""

from minidl.samples import Sample, normal, probabilities

X = (4, 5)

SAMPLES = [
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
]
