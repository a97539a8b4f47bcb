"""Autoencoders and VAEs: shapes, published sizes, and the mathematics of the bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
import minidl.functional as F
from minidl import Tensor, nn, no_grad, random
from minidl.errors import ArgumentError
from minidl.models.autoencoder import conv_autoencoder, mlp_autoencoder
from minidl.models.vae import VAE, conv_vae, mlp_vae

IMAGE = (1, 8, 12)


def images(n: int = 5, image: tuple[int, int, int] = IMAGE) -> Tensor:
    return Tensor(np.random.default_rng(0).random((n, *image), np.float32))


def count(model: nn.Module) -> int:
    return sum(p.size for p in model.parameters())


@pytest.mark.parametrize("build", [mlp_autoencoder, conv_autoencoder])
def test_autoencoder_returns_codes_and_images_between_0_and_1(build):
    model = build(IMAGE, latent=3)
    x = images()
    assert model.encode(x).shape == (5, 3)
    rebuilt = model(x)
    assert rebuilt.shape == x.shape
    assert 0 < rebuilt.data.min() <= rebuilt.data.max() < 1


@pytest.mark.parametrize("build", [mlp_autoencoder, conv_autoencoder])
def test_autoencoder_loss_is_the_cross_entropy_per_image(build):
    model = build(IMAGE, latent=3)
    x = images()
    with no_grad():
        p = model(x).data.astype(float)
    expected = -(x.data * np.log(p) + (1 - x.data) * np.log(1 - p)).sum() / 5
    np.testing.assert_allclose(model.loss(x).item(), expected, rtol=1e-5)


def test_denoising_loss_compares_with_the_clean_image():
    model = mlp_autoencoder(IMAGE, latent=3)
    clean, corrupted = images(), Tensor(np.zeros((5, *IMAGE), np.float32))
    assert model.loss(corrupted, clean).item() != pytest.approx(model.loss(corrupted).item())


def test_convolutional_autoencoder_refuses_sizes_that_cannot_be_halved():
    with pytest.raises(ArgumentError, match="halve"):
        conv_autoencoder((1, 10, 12))


def test_mlp_vae_has_the_papers_number_of_parameters():
    assert count(mlp_vae((1, 28, 28))) == 815_824


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("build", [mlp_vae, conv_vae])
def test_vae_bound_has_one_value_per_image_and_gradients_arrive_everywhere(build, likelihood):
    model = build(IMAGE, latent=3, likelihood=likelihood)
    x = images()
    bound = model.elbo(x, samples=2)
    assert bound.value.shape == (5,)
    assert (bound.kl.data >= 0).all()
    assert model.sample(4).shape == (4, *IMAGE)
    model.loss(x).backward()
    assert all(np.abs(p.grad.data).sum() > 0 for p in model.parameters())


def test_beta_weighs_the_divergence_in_a_vaes_loss_and_nothing_else():
    model, x = mlp_vae(IMAGE, latent=3), images()

    def loss(beta: float) -> float:
        random.manual_seed(0)  # the same noise each time
        return model.loss(x, beta).item()

    random.manual_seed(0)
    bound = model.elbo(x)
    assert loss(1.0) == pytest.approx(-bound.value.mean().item(), rel=1e-5)
    assert loss(0.0) == pytest.approx(-bound.log_likelihood.mean().item(), rel=1e-5)
    assert loss(5.0) - loss(1.0) == pytest.approx(4 * bound.kl.mean().item(), rel=1e-2)


def test_trials_count_the_points_of_a_grey_pixel():
    """16 points, 12 of them black: the probability of that picture, point by point."""
    model = mlp_vae((1, 1, 1), latent=2, hidden=(), trials=16)
    z = Tensor(np.zeros((1, 2), np.float32))
    p = model.decode(z).item()
    expected = 12 * math.log(p) + 4 * math.log(1 - p)
    x = Tensor(np.full((1, 1, 1, 1), 12 / 16, np.float32))
    assert model.log_likelihood(x, z).item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ArgumentError, match="trials"):
        mlp_vae((1, 1, 1), likelihood="gaussian", trials=16)


def test_gaussian_decoder_survives_pixels_that_never_change():
    from minidl.optim import Adam

    model = mlp_vae((1, 2, 2), latent=1, hidden=(8,), likelihood="gaussian")
    optimizer = Adam(model.parameters(), lr=0.05)
    x = Tensor(np.zeros((16, 1, 2, 2), np.float32))
    for _ in range(200):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
    densest = 4 * 0.5 * (math.log(2 * math.pi) - 6)
    assert densest - 1e-3 <= loss.item() < 0


def test_unknown_likelihood_is_refused():
    with pytest.raises(ArgumentError, match="poisson"):
        mlp_vae(IMAGE, likelihood="poisson")


def test_kl_to_the_standard_normal_has_its_published_value():
    mean, log_var = np.array([0.5, -1.0]), np.array([math.log(0.25), 0.2])
    assert F.gaussian_kl(mean, log_var).sum().item() == pytest.approx(0.95384856, abs=1e-8)


def test_reparameterised_samples_have_the_asked_for_variance():
    """Would fail with exp(log_var) in place of exp(log_var / 2)."""
    log_var = math.log(0.25)
    mean = np.full(100_000, 3.0)
    z = VAE.reparameterise(Tensor(mean), Tensor(np.full(100_000, log_var)))
    assert z.data.mean() == pytest.approx(3.0, abs=0.01)
    assert z.data.var() == pytest.approx(0.25, rel=0.02)


def test_reparameterised_sample_has_the_slopes_of_its_formula():
    mean = minidl.tensor(np.array([1.0, -2.0]), requires_grad=True)
    log_var = minidl.tensor(np.array([0.4, -1.0]), requires_grad=True)
    z = VAE.reparameterise(mean, log_var)
    by_mean, by_log_var = minidl.grad(z.sum(), (mean, log_var))
    np.testing.assert_allclose(by_mean.data, 1.0)
    np.testing.assert_allclose(by_log_var.data, (z.data - mean.data) / 2)


def linear_gaussian_vae(c: float, noise_log_var: float) -> VAE:
    """p(z) = N(0, 1), p(x|z) = N(c z, exp(noise_log_var)): everything is known exactly.

    log p(x) = log N(x; 0, c^2 + v), and the posterior is N(c x / (c^2 + v), v / (c^2 + v)).
    """

    class Exact(VAE):
        def log_likelihood(self, x, z):
            return F.gaussian_log_likelihood(x.flatten(1), c * z, noise_log_var).sum(1)

    class Posterior(nn.Module):
        def forward(self, x):
            v = math.exp(noise_log_var)
            x = x.flatten(1)
            mean = x * (c / (c * c + v))
            return F.cat([mean, mean * 0 + math.log(v / (c * c + v))], 1)

    return Exact(Posterior(), nn.Identity(), latent=1, likelihood="gaussian")


def test_bound_is_tight_where_the_posterior_is_exact():
    c, noise_log_var = 1.5, -0.7
    model = linear_gaussian_vae(c, noise_log_var)
    x = Tensor(np.random.default_rng(1).standard_normal((7, 1, 1, 1)) * 1.7)
    evidence = F.gaussian_log_likelihood(
        x.data.ravel(), 0.0, math.log(c * c + math.exp(noise_log_var))
    ).data
    # Every importance weight equals p(x), so a single one is exact.
    np.testing.assert_allclose(model.log_prob(x, samples=1).data, evidence, rtol=1e-10)
    bound = model.elbo(x, samples=20_000).value.data
    np.testing.assert_allclose(bound, evidence, atol=0.05)


@pytest.mark.parametrize("samples", [2, 7])
def test_importance_sampling_is_a_mean_over_its_draws(samples):
    """Every weight is p(x) itself, so their mean is, too; their sum would lie log K above."""
    model = linear_gaussian_vae(1.5, -0.7)
    x = Tensor(np.random.default_rng(1).standard_normal((4, 1, 1, 1)))
    one = model.log_prob(x, samples=1).data
    np.testing.assert_allclose(model.log_prob(x, samples=samples).data, one, rtol=1e-10)


def test_importance_sampling_lies_above_the_bound_and_below_the_evidence():
    random.manual_seed(0)
    model = mlp_vae((1, 4, 4), latent=2, hidden=(16,))
    x = images(50, (1, 4, 4))
    with no_grad():
        elbo = model.elbo(x, samples=200).value.data.mean()
    few, many = (model.log_prob(x, samples=k).data.mean() for k in (5, 500))
    assert elbo <= few + 0.02
    assert few <= many + 0.02


def test_training_lowers_the_loss_of_a_vae():
    from minidl.optim import Adam

    random.manual_seed(0)
    model = mlp_vae(IMAGE, latent=2, hidden=(32,))
    optimizer = Adam(model.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    x = Tensor((rng.random((64, *IMAGE)) < rng.random(IMAGE) ** 2).astype(np.float32))
    first = model.loss(x).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
    assert model.loss(x).item() < 0.9 * first
