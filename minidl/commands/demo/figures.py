"""What the demo measures and draws: numbers and grids of images from trained models."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from minidl import no_grad
from minidl.errors import MinidlError
from minidl.models.autoencoder import Autoencoder
from minidl.models.vae import VAE
from minidl.nn.conversion import beside


def codes_of(model: Autoencoder | VAE, images: np.ndarray) -> np.ndarray:
    """The code of each image: z, or the mean of q(z|x). (N, C, H, W) -> (N, Z)."""
    with no_grad():
        code = model.encode(beside(model, images))
    return (code[0] if isinstance(code, tuple) else code).numpy()


def decoded(model: Autoencoder | VAE, codes: np.ndarray) -> np.ndarray:
    """The image of each code. (N, Z) -> (N, C, H, W)."""
    with no_grad():
        return model.decode(beside(model, codes.astype(np.float32))).numpy()


def manifold(model: VAE, side: int = 20) -> np.ndarray:
    """Images on a grid over a plane of codes, (side * side, C, H, W), row by row.

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
    """One row per latent: the code ``start`` with that latent alone moved from -3 to 3."""
    rows = []
    for latent in order:
        codes = np.repeat(start[None], steps, 0)
        codes[:, latent] = np.linspace(-3, 3, steps)
        rows.append(decoded(model, codes))
    return np.concatenate(rows)


def kl_per_latent(model: VAE, images: np.ndarray) -> np.ndarray:
    """How many nats each latent carries, on average over images: shape (Z,)."""
    with no_grad():
        mean, log_var = (t.numpy().astype(float) for t in model.encode(beside(model, images)))
    return (0.5 * (mean**2 + np.exp(log_var) - log_var - 1)).mean(0)


def sampled_like(codes: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Codes from the normal distribution with the mean and covariance of the given ones.

    The fairest prior that one can hang on an autoencoder, which has none.
    """
    return rng.multivariate_normal(codes.mean(0), np.cov(codes.T), n)


def purity(codes: np.ndarray, labels: np.ndarray, seed: int = 0) -> float:
    """How well k-means finds the ten digits: the share in the majority of its cluster."""
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
    """The first n principal components of each image, (N, C, H, W) -> (N, n)."""
    flat = images.reshape(len(images), -1).astype(float)
    centred = flat - flat.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    return centred @ directions[:n].T


def bounds(
    model: VAE, images: np.ndarray, samples: int, batch: int = 500
) -> tuple[np.ndarray, np.ndarray]:
    """ELBO and importance-sampled log p(x) of each image, shape (N,), in nats.

    The ELBO is averaged over 16 draws per image.
    """
    elbos, logs = [], []
    with no_grad():
        for start in range(0, len(images), batch):
            x = beside(model, images[start : start + batch])
            elbos.append(model.elbo(x, samples=16).value.numpy())
            logs.append(model.log_prob(x, samples).numpy())
    return np.concatenate(elbos), np.concatenate(logs)
