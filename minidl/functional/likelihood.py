"""Log-likelihoods and divergences, element by element, in nats.

Sum over the axes of one observation and take the mean over the batch: the
parts of a VAE's bound (Kingma & Welling 2014, appendices B and C).
"""

from __future__ import annotations

import math
from typing import Any

from minidl.compute.arrays import Array, xp_of
from minidl.functional.activation import sigmoid
from minidl.functional.pointwise import exp, floating, square
from minidl.kinds import Pointwise
from minidl.matching import match
from minidl.tensor import Tensor


class BernoulliLogLikelihood(Pointwise):
    """x logits - log(1 + exp(logits)): log p(x) where p = sigmoid(logits).

    One op, because the two terms are huge and nearly equal for large logits.
    """

    def forward(self, x: Array, logits: Array) -> Array:
        xp = xp_of(x)
        # log(1 + e^s) = max(s, 0) + log(1 + e^-|s|); no exp here can overflow.
        return x * logits - xp.maximum(logits, 0) - xp.log1p(xp.exp(-xp.abs(logits)))

    def slope_x(self, logits: Tensor) -> Tensor:
        return logits

    def slope_logits(self, x: Tensor, logits: Tensor) -> Tensor:
        return x - sigmoid(logits)


def bernoulli_log_likelihood(x: Any, logits: Any) -> Tensor:
    """Take log p(x) of pixels that are 1 with probability sigmoid(logits).

    x may lie between 0 and 1 (grey pixels); then this is minus the cross-entropy.
    """
    x, logits = match(x, logits)
    return BernoulliLogLikelihood()(floating(x), floating(logits))


def gaussian_log_likelihood(x: Any, mean: Any, log_var: Any) -> Tensor:
    """Take log N(x; mean, exp(log_var)), from the logarithm of the variance."""
    x, mean, log_var = match(x, mean, log_var)
    return -0.5 * (math.log(2 * math.pi) + log_var + square(x - mean) * exp(-log_var))


def gaussian_kl(
    mean: Any, log_var: Any, prior_mean: Any = 0.0, prior_log_var: Any = 0.0
) -> Tensor:
    """Take KL(N(mean, exp(log_var)) || N(prior_mean, exp(prior_log_var))), per dimension.

    Against the standard normal: (mean^2 + exp(log_var) - log_var - 1) / 2.
    """
    mean, log_var, prior_mean, prior_log_var = match(mean, log_var, prior_mean, prior_log_var)
    difference = log_var - prior_log_var
    distance = square(mean - prior_mean) * exp(-prior_log_var)
    return 0.5 * (exp(difference) + distance - difference - 1)
