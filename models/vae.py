"""Variational autoencoders: an autoencoder whose codes have a distribution.

    prior      p(z)   = N(0, I)
    encoder    q(z|x) = N(mean(x), diag exp(log_var(x)))
    decoder    p(x|z) = Bernoulli, or Gaussian with its own mean and variance

Training raises the evidence lower bound (ELBO), per image and in nats:

    log p(x) >= E_q [log p(x|z)] - KL(q(z|x) || p(z))

The expectation is estimated by a sample that is a differentiable function of
the parameters, z = mean + exp(log_var / 2) * noise (the reparameterisation).

    MLP VAE of the paper, 500 hidden units, 28x28 images, Z latents
    layer      units            parameters
    encoder    784 -> 500       392,500
    heads      500 -> 2 Z       1,002 Z
    decoder    Z -> 500 -> 784  500 Z + 393,284
    total      Z = 20           815,824

Source: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", sections 2.3
and 3, appendix C (tanh hidden units, from memory). beta: Higgins et al. 2017,
"beta-VAE", equation 4. Importance-sampled log p(x): Burda, Grosse &
Salakhutdinov 2016, "Importance Weighted Autoencoders", section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import minidl.functional as F
from minidl import Tensor, nn, no_grad, random
from minidl.errors import ArgumentError, message
from minidl.models.autoencoder import conv_decoder, conv_encoder, mlp_decoder, mlp_encoder

LIKELIHOODS = ("bernoulli", "gaussian")

LEAST_LOG_VAR = -6.0
"""Least log variance of a Gaussian decoder's pixels: a standard deviation of 0.05. Without a
bound, a pixel that is the same in all images gets a density, and a gradient, without one."""


class Elbo(NamedTuple):
    """The two parts of the bound, per image, shape (N,), in nats."""

    log_likelihood: Tensor
    """Estimate of E_q [log p(x|z)]."""
    kl: Tensor
    """Exact KL(q(z|x) || p(z))."""

    @property
    def value(self) -> Tensor:
        """The bound itself, the difference of the two, (N,)."""
        return self.log_likelihood - self.kl


class VAE(nn.Module):
    """A variational autoencoder around any encoder and decoder.

    Parameters
    ----------
    encoder : Module
        x (N, C, H, W) -> (N, 2 Z): mean and log variance of q(z|x), side by side.
    decoder : Module
        z (N, Z) -> (N, C, H, W) logits (Bernoulli), or (N, 2 C, H, W): logits of
        the mean, then log variances (Gaussian). The Gaussian's mean passes
        through a sigmoid, as in the paper, so it lies in (0, 1); its log
        variances are bent so as to stay above LEAST_LOG_VAR.
    latent : int
        Z, the number of latents.
    likelihood : {"bernoulli", "gaussian"}
    trials : int
        Black-or-white points that a grey pixel is the mean of; they share the
        pixel's probability. The likelihood is then of all the points. Bernoulli only.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        likelihood: str = "bernoulli",
        trials: int = 1,
    ):
        super().__init__()
        _parts(likelihood)
        if trials < 1 or (trials > 1 and likelihood != "bernoulli"):
            raise ArgumentError(f"VAE: {trials} trials make no sense for {likelihood!r}")
        self.trials = trials
        self.latent = latent
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), each (N, Z)."""
        mean, log_var = F.split(self.encoder(x), self.latent, 1)
        return mean, log_var

    @staticmethod
    def reparameterise(mean: Tensor, log_var: Tensor) -> Tensor:
        """A sample of N(mean, exp(log_var)), differentiable by both."""
        noise = random.normal(mean.shape, mean.dtype, mean.device)
        return mean + F.exp(log_var / 2) * noise

    def decode(self, z: Tensor) -> Tensor:
        """The mean image of p(x|z), pixels in [0, 1], (N, Z) -> (N, C, H, W)."""
        return F.sigmoid(self._pixels(z)[0])

    def _pixels(self, z: Tensor) -> tuple[Tensor, ...]:
        out = self.decoder(z)
        return F.split(out, out.shape[1] // _parts(self.likelihood), 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """The log likelihood log p(x|z), summed over pixels, (N,), in nats."""
        if self.likelihood == "bernoulli":
            (logits,) = self._pixels(z)
            pixels = F.bernoulli_log_likelihood(x, logits) * self.trials
        else:
            mean_logits, free = self._pixels(z)
            log_var = LEAST_LOG_VAR + F.softplus(free - LEAST_LOG_VAR)
            pixels = F.gaussian_log_likelihood(x, F.sigmoid(mean_logits), log_var)
        return pixels.flatten(1).sum(1)

    def elbo(self, x: Tensor, samples: int = 1) -> Elbo:
        """The evidence lower bound of each image, from ``samples`` draws of z."""
        mean, log_var = self.encode(x)
        draws = [
            self.log_likelihood(x, self.reparameterise(mean, log_var)) for _ in range(samples)
        ]
        expected = draws[0] if samples == 1 else F.stack(draws).mean(0)
        return Elbo(expected, F.gaussian_kl(mean, log_var).sum(1))

    def loss(self, x: Tensor, beta: float = 1.0) -> Tensor:
        """The loss -ELBO, mean over images, in nats; ``beta`` weighs the KL term."""
        bound = self.elbo(x)
        return (beta * bound.kl - bound.log_likelihood).mean()

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of each image from the mean of its code."""
        return self.decode(self.encode(x)[0])

    def sample(self, n: int) -> Tensor:
        """Decode n images from codes of the prior, (n, C, H, W)."""
        first = next(iter(self.parameters()))
        return self.decode(random.normal((n, self.latent), first.dtype, first.device))

    def log_prob(self, x: Tensor, samples: int = 128) -> Tensor:
        """Importance-sampled log p(x) of each image, shape (N,), in nats.

        log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x) with z_k drawn from q(z|x). Its
        expectation grows towards log p(x) with K and is the ELBO at K = 1. No
        gradient is recorded.
        """
        with no_grad():
            mean, log_var = self.encode(x)
            weights = []
            for _ in range(samples):
                z = self.reparameterise(mean, log_var)
                prior = F.gaussian_log_likelihood(z, 0.0, 0.0).sum(1)
                posterior = F.gaussian_log_likelihood(z, mean, log_var).sum(1)
                weights.append(self.log_likelihood(x, z) + prior - posterior)
            return F.logsumexp(F.stack(weights), 0) - math.log(samples)


def _parts(likelihood: str) -> int:
    """The number of values per pixel and channel that the decoder gives."""
    if likelihood not in LIKELIHOODS:
        raise ArgumentError(
            message(f"VAE: unknown likelihood {likelihood!r}", hint=f"choose one of {LIKELIHOODS}.")
        )
    return 1 + LIKELIHOODS.index(likelihood)


def mlp_vae(
    image: tuple[int, int, int],
    latent: int = 20,
    hidden: Sequence[int] = (500,),
    likelihood: str = "bernoulli",
    trials: int = 1,
    activation: Callable[[], nn.Module] = nn.Tanh,
) -> VAE:
    """The fully connected VAE of Kingma & Welling; the defaults are the paper's for MNIST.

    Parameters
    ----------
    image : (C, H, W)
    latent : int
        Z; the paper shows 3, 5, 10, 20 and 200.
    hidden : sequence of int
        Units of the encoder's hidden layers; the decoder mirrors them.
    """
    channels = (image[0] * _parts(likelihood), *image[1:])
    return VAE(
        mlp_encoder(math.prod(image), hidden, 2 * latent, activation),
        mlp_decoder(latent, [*reversed(hidden)], channels, activation),
        latent,
        likelihood,
        trials,
    )


def conv_vae(
    image: tuple[int, int, int],
    latent: int = 20,
    channels: Sequence[int] = (16, 32),
    likelihood: str = "bernoulli",
    trials: int = 1,
) -> VAE:
    """A convolutional VAE; every entry of ``channels`` halves the image."""
    outputs = (image[0] * _parts(likelihood), *image[1:])
    return VAE(
        conv_encoder(image, channels, 2 * latent),
        conv_decoder(latent, channels, outputs),
        latent,
        likelihood,
        trials,
    )
