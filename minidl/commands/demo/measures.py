"""What the demo measures: numbers and images from trained models."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from minidl import no_grad
from minidl.commands.demo.experiment import Experiment
from minidl.errors import MinidlError
from minidl.lecture.digits import Digits
from minidl.models.autoencoder import Autoencoder
from minidl.models.vae import VAE
from minidl.nn.conversion import beside

IMPORTANCE_SAMPLES = 512
"""Number of draws behind an importance-sampled log-likelihood."""


def codes_of(model: Autoencoder | VAE, images: np.ndarray) -> np.ndarray:
    """Encode images to z, or to the mean of q(z|x): (N, C, H, W) -> (N, Z)."""
    with no_grad():
        code = model.encode(beside(model, images))
    return (code[0] if isinstance(code, tuple) else code).numpy()


def decoded(model: Autoencoder | VAE, codes: np.ndarray) -> np.ndarray:
    """Decode codes to images: (N, Z) -> (N, C, H, W)."""
    with no_grad():
        return model.decode(beside(model, codes.astype(np.float32))).numpy()


def manifold(model: VAE, side: int = 20) -> np.ndarray:
    """Decode a grid over a plane of codes to images, (side * side, C, H, W), row by row.

    The unit square is cut into side x side equal cells; the middle of each is
    turned into a code by the inverse Gaussian distribution function, so every
    image stands for the same share of the prior. The first latent grows to the
    right, the second upwards.

    Source: Kingma & Welling 2014, appendix A.
    """
    quantile = NormalDist().inv_cdf
    z = np.array([quantile((i + 0.5) / side) for i in range(side)])
    right, up = np.meshgrid(z, z[::-1])
    return decoded(model, np.stack([right.ravel(), up.ravel()], 1))


def traversals(model: VAE, start: np.ndarray, order: np.ndarray, steps: int = 11) -> np.ndarray:
    """Decode a row of images per latent: ``start`` with that latent moved from -3 to 3."""
    rows = []
    for latent in order:
        codes = np.repeat(start[None], steps, 0)
        codes[:, latent] = np.linspace(-3, 3, steps)
        rows.append(decoded(model, codes))
    return np.concatenate(rows)


def kl_per_latent(model: VAE, images: np.ndarray) -> np.ndarray:
    """The nats that each latent carries, on average over images, shape (Z,)."""
    with no_grad():
        mean, log_var = (t.numpy().astype(float) for t in model.encode(beside(model, images)))
    return (0.5 * (mean**2 + np.exp(log_var) - log_var - 1)).mean(0)


def sampled_like(codes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n codes from a Gaussian with the mean and covariance of the given ones.

    The fairest prior that one can hang on an autoencoder, which has none.
    """
    return rng.multivariate_normal(codes.mean(0), np.cov(codes.T), n)


def purity(codes: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """The share of images whose label is the most frequent one of their k-means cluster."""
    try:
        from sklearn.cluster import KMeans
    except ImportError as cause:
        raise MinidlError(
            "the demo's clustering needs scikit-learn\n    Hint: pip install 'minidl[demo]'."
        ) from cause
    flat = codes.reshape(len(codes), -1)
    clusters = KMeans(10, n_init=10, random_state=seed).fit_predict(flat)
    majorities = (np.bincount(labels[clusters == c]).max() for c in np.unique(clusters))
    return sum(majorities) / len(labels)


def principal_components(images: np.ndarray, n: int) -> np.ndarray:
    """The first n principal components of each image: (N, C, H, W) -> (N, n)."""
    flat = images.reshape(len(images), -1).astype(float)
    centred = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:n].T


def bounds(
    model: VAE, images: np.ndarray, samples: int, batch: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """The ELBO and the importance-sampled log p(x) of each image, shape (N,), in nats.

    The ELBO is averaged over 16 draws per image.
    """
    elbos, logs = [], []
    with no_grad():
        for start in range(0, len(images), batch):
            x = beside(model, images[start : start + batch])
            elbos.append(model.elbo(x, samples=16).value.numpy())
            logs.append(model.log_prob(x, samples).numpy())
    return np.concatenate(elbos), np.concatenate(logs)


def measure(experiment: Experiment, digits: Digits, seed: int) -> dict[str, Any]:
    """Measure all of the demo's numbers, on held-out images."""
    images, labels = digits.test_images, digits.test_labels
    vae, autoencoder = experiment.vae.model, experiment.autoencoder.model
    elbo, log_likelihood = bounds(vae, images, IMPORTANCE_SAMPLES)
    return {
        "data": digits.name,
        "seed": seed,
        "held_out_loss": {t.name: t.history[-1]["test_loss"] for t in experiment.all()},
        "elbo": float(elbo.mean()),
        "log_likelihood": float(log_likelihood.mean()),
        "log_likelihood_standard_error": float(log_likelihood.std() / np.sqrt(len(images))),
        "kl_per_latent": kl_per_latent(vae, images).tolist(),
        "purity": {
            "raw pixels": purity(images, labels, seed),
            "PCA, 10 components": purity(
                principal_components(images, vae.latent), labels, seed
            ),
            "autoencoder, 10 latents": purity(
                codes_of(autoencoder, images), labels, seed
            ),
            "VAE, 10 latents": purity(codes_of(vae, images), labels, seed),
        },
    }
