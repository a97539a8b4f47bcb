"""The demo's page, section by section: what is shown, and what is said about it."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.commands.demo import charts, measures, report
from minidl.commands.demo.experiment import Experiment
from minidl.commands.demo.measures import IMPORTANCE_SAMPLES
from minidl.lecture.digits import Digits
from minidl.lecture.pictures import enlarged, image_grid

COLUMNS = 12
"""Number of images in a row of reconstructions and of new digits."""


def write_sections(
    experiment: Experiment, digits: Digits, metrics: dict[str, Any], seed: int
) -> list[str]:
    """Write the sections of the page, in their order."""
    return [
        _explorer(experiment, digits),
        _embedding(experiment, digits),
        _reconstructions(experiment, digits),
        _manifold(experiment),
        _traversals(experiment, digits, metrics),
        _samples(experiment, digits, seed),
        _numbers(metrics),
        _curves(experiment, digits),
    ]


def _explorer(experiment: Experiment, digits: Digits) -> str:
    vae = experiment.vae_plane.model
    codes = measures.codes_of(vae, digits.test_images)
    return report.section(
        "Walk through the latent plane",
        "Move the pointer over the plane: the VAE's decoder runs in this page and draws the digit "
        "that lies there. Each dot is a held-out image at the mean of its code, coloured by its "
        "label, which the VAE never saw.",
        report.explorer(vae.decoder, digits.image[1:], codes, digits.test_labels),
    )


def _embedding(experiment: Experiment, digits: Digits) -> str:
    images = digits.test_images
    planes = {
        "PCA": measures.principal_components(images, 2),
        "autoencoder": measures.codes_of(experiment.autoencoder_plane.model, images),
        "VAE": measures.codes_of(experiment.vae_plane.model, images),
    }
    return report.section(
        "Two numbers per image",
        "PCA finds the best plane; the autoencoder bends it; the VAE bends it so that the codes "
        "fill a round Gaussian without holes. No model saw a label.",
        report.chart(charts.embeddings(planes, digits.test_labels), "Held-out images."),
    )


def _reconstructions(experiment: Experiment, digits: Digits) -> str:
    images = digits.test_images[:COLUMNS]
    rows = [images]
    for trained in (experiment.autoencoder, experiment.vae):
        codes = measures.codes_of(trained.model, images)
        rows.append(measures.decoded(trained.model, codes))
    page = _grid(np.concatenate(rows), COLUMNS)
    return report.section(
        "Reconstructions",
        "Held-out images squeezed through ten numbers. The VAE's are a little softer: it pays for "
        "every nat that its code carries.",
        report.picture(page, "Top to bottom: the image, the autoencoder's, the VAE's."),
    )


def _manifold(experiment: Experiment) -> str:
    images = measures.manifold(experiment.vae_plane.model)
    if images.shape[-1] < 16:  # digits that fill their frame would grow together
        images = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])
    return report.section(
        "The manifold",
        "The VAE's plane cut into 20 x 20 cells of equal probability under the prior, by the "
        "inverse Gaussian distribution function, and the middle of each decoded.",
        report.picture(_grid(images, 20, gap=0), ""),
    )


def _traversals(experiment: Experiment, digits: Digits, metrics: dict[str, Any]) -> str:
    vae = experiment.vae.model
    nats = np.array(metrics["kl_per_latent"])
    order = np.argsort(-nats)
    start = measures.codes_of(vae, digits.test_images[:1])[0]
    page = _grid(measures.traversals(vae, start, order), 11)
    carried = ", ".join(f"{nats[i]:.2f}" for i in order)
    return report.section(
        "One latent at a time",
        "One held-out image's code, with one latent moved from -3 to 3 and the others left alone. "
        "The latents are ordered by how many nats they carry; one that carries none changes "
        "nothing.",
        report.picture(page, f"Nats carried, top to bottom: {carried}."),
    )


def _samples(experiment: Experiment, digits: Digits, seed: int) -> str:
    rng = np.random.default_rng(seed)
    autoencoder, vae = experiment.autoencoder.model, experiment.vae.model
    codes = measures.codes_of(autoencoder, digits.train_images)
    fitted = measures.decoded(autoencoder, measures.sampled_like(codes, 3 * COLUMNS, rng))
    drawn = measures.decoded(vae, rng.standard_normal((3 * COLUMNS, vae.latent)))
    return report.section(
        "New digits",
        "The VAE draws from its prior. The autoencoder has none: the fairest substitute is a "
        "Gaussian with the mean and covariance of its codes.",
        report.picture(_grid(drawn, COLUMNS), "VAE, ten latents, from the prior."),
        report.picture(_grid(fitted, COLUMNS), "Autoencoder, from the Gaussian."),
    )


def _numbers(metrics: dict[str, Any]) -> str:
    purity = [(name, f"{100 * share:.1f} %") for name, share in metrics["purity"].items()]
    bounds = [
        ("ELBO, 16 draws", f"{metrics['elbo']:.2f}"),
        (f"log p(x), {IMPORTANCE_SAMPLES} importance samples",
         f"{metrics['log_likelihood']:.2f} (standard error over images "
         f"{metrics['log_likelihood_standard_error']:.2f})"),
    ]
    return report.section(
        "In numbers",
        "k-means with ten clusters on held-out images: the share of images that carry their "
        "cluster's most frequent label. And the VAE's bound under the log-likelihood it bounds.",
        report.table(["k-means purity", ""], purity),
        report.table(["VAE, ten latents, held out", "nats per image"], bounds),
    )


def _curves(experiment: Experiment, digits: Digits) -> str:
    panels = {
        trained.name: {
            "training": trained.history.column("loss"),
            "held out": trained.history.column("test_loss"),
        }
        for trained in experiment.all()
    }
    points = (
        f" A pixel of these digits counts the ink on {digits.trials} points, and the VAEs' "
        "likelihood is of all the points." if digits.trials > 1 else ""
    )
    return report.section(
        "Loss curves",
        "Nats per image: cross-entropy for the autoencoders, minus the ELBO for the VAEs." + points,
        report.chart(charts.curves(panels, "nats per image")),
    )


def _grid(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Arrange images in rows, small ones enlarged."""
    return image_grid(enlarged(images), columns, gap=gap)
