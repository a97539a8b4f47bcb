"""`minidl demo`: train an autoencoder and a VAE on digits, and write a page about them."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np

from minidl import random
from minidl.commands.demo import charts, figures, report
from minidl.commands.demo.experiment import RECIPES, Experiment, Trained, run
from minidl.errors import MinidlError, message
from minidl.lecture.digits import Digits, load_digits
from minidl.lecture.flags import add_data_arguments, add_run_arguments
from minidl.lecture.pictures import enlarged, image_grid
from minidl.lecture.runs import write_metrics
from minidl.lecture.text_table import table

SAMPLES = 512
"""Draws of the importance-sampled log-likelihood."""

SHOWN = 12
"""Test images whose reconstructions are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the demo."""
    add_run_arguments(parser, "demo")
    add_data_arguments(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped in --out"
    )


def main(args: argparse.Namespace) -> int:
    """Train, measure, write ``report.html`` and ``metrics.json``."""
    start = time.perf_counter()
    check_extras()
    digits = load_digits(args.data, args.root, args.seed)
    recipe = RECIPES[args.data]
    if args.dry_run:
        recipe = replace(recipe, epochs=2)
    print(f"{digits.name}: {len(digits.train_images):,} images to learn from, "
          f"{len(digits.test_images):,} held out. {recipe.epochs} epochs each.")

    def tell(trained: Trained) -> None:
        loss = trained.history[-1]["test_loss"]
        print(f"  {trained.name:15} held-out loss {loss:7.2f} nats   {trained.seconds:5.1f} s",
              flush=True)

    experiment = run(digits, recipe, args.seed, args.out, args.resume, args.device, tell)
    random.manual_seed(args.seed)
    metrics = measure(experiment, digits, args.seed)
    metrics["seconds"] = round(time.perf_counter() - start, 1)
    sections = written(experiment, digits, metrics, args.seed)
    subtitle = (
        f"{digits.name}, seed {args.seed}: {len(digits.train_images):,} images to learn from, "
        f"{len(digits.test_images):,} held out, {metrics['seconds']} s in all."
    )
    args.out.mkdir(parents=True, exist_ok=True)
    page = args.out / "report.html"
    page.write_text(report.page("Autoencoders and VAEs on digits", subtitle, sections), "utf-8")
    write_metrics(args.out, metrics)
    print("\n" + table(["", "k-means purity"], [*metrics["purity"].items()]))
    print(f"\nHeld-out ELBO {metrics['elbo']:.2f} <= log p(x) {metrics['log_likelihood']:.2f} "
          f"nats per image ({SAMPLES} draws).")
    print(f"Open {page} ({time.perf_counter() - start:.0f} s).")
    return 0


def check_extras() -> None:
    """Refuse to train for a minute when the page could not be drawn in the end.

    Raises
    ------
    MinidlError
        If a package of ``minidl[demo]`` is missing.
    """
    missing = [name for name in ("sklearn", "matplotlib") if find_spec(name) is None]
    if missing:
        raise MinidlError(
            message(
                f"demo: {' and '.join(missing)} cannot be imported",
                hint="pip install 'minidl[demo]'.",
            )
        )


def measure(experiment: Experiment, digits: Digits, seed: int) -> dict[str, Any]:
    """The demo's numbers, all on held-out images."""
    images, labels = digits.test_images, digits.test_labels
    vae, autoencoder = experiment.vae.model, experiment.autoencoder.model
    elbo, log_likelihood = figures.bounds(vae, images, SAMPLES)
    return {
        "data": digits.name,
        "seed": seed,
        "held_out_loss": {t.name: t.history[-1]["test_loss"] for t in experiment.all()},
        "elbo": float(elbo.mean()),
        "log_likelihood": float(log_likelihood.mean()),
        "log_likelihood_standard_error": float(log_likelihood.std() / np.sqrt(len(images))),
        "kl_per_latent": figures.kl_per_latent(vae, images).tolist(),
        "purity": {
            "raw pixels": figures.purity(images, labels, seed),
            "PCA, 10 components": figures.purity(
                figures.principal_components(images, vae.latent), labels, seed
            ),
            "autoencoder, 10 latents": figures.purity(
                figures.codes_of(autoencoder, images), labels, seed
            ),
            "VAE, 10 latents": figures.purity(figures.codes_of(vae, images), labels, seed),
        },
    }


def written(
    experiment: Experiment, digits: Digits, metrics: dict[str, Any], seed: int
) -> list[str]:
    """The sections of the page."""
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
    codes = figures.codes_of(vae, digits.test_images)
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
        "PCA": figures.principal_components(images, 2),
        "autoencoder": figures.codes_of(experiment.autoencoder_plane.model, images),
        "VAE": figures.codes_of(experiment.vae_plane.model, images),
    }
    return report.section(
        "Two numbers per image",
        "PCA finds the best plane; the autoencoder bends it; the VAE bends it so that the codes "
        "fill a round Gaussian without holes. No model saw a label.",
        report.chart(charts.embeddings(planes, digits.test_labels), "Held-out images."),
    )


def _reconstructions(experiment: Experiment, digits: Digits) -> str:
    images = digits.test_images[:SHOWN]
    rows = [images]
    for trained in (experiment.autoencoder, experiment.vae):
        codes = figures.codes_of(trained.model, images)
        rows.append(figures.decoded(trained.model, codes))
    page = _grid(np.concatenate(rows), SHOWN)
    return report.section(
        "Reconstructions",
        "Held-out images squeezed through ten numbers. The VAE's are a little softer: it pays for "
        "every nat that its code carries.",
        report.picture(page, "Top to bottom: the image, the autoencoder's, the VAE's."),
    )


def _manifold(experiment: Experiment) -> str:
    images = figures.manifold(experiment.vae_plane.model)
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
    start = figures.codes_of(vae, digits.test_images[:1])[0]
    page = _grid(figures.traversals(vae, start, order), 11)
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
    codes = figures.codes_of(autoencoder, digits.train_images)
    fitted = figures.decoded(autoencoder, figures.sampled_like(codes, 3 * SHOWN, rng))
    drawn = figures.decoded(vae, rng.standard_normal((3 * SHOWN, vae.latent)))
    return report.section(
        "New digits",
        "The VAE draws from its prior. The autoencoder has none: the fairest substitute is a "
        "Gaussian with the mean and covariance of its codes.",
        report.picture(_grid(drawn, SHOWN), "VAE, ten latents, from the prior."),
        report.picture(_grid(fitted, SHOWN), "Autoencoder, from the Gaussian."),
    )


def _numbers(metrics: dict[str, Any]) -> str:
    purity = [(name, f"{100 * share:.1f} %") for name, share in metrics["purity"].items()]
    bounds = [
        ("ELBO, 16 draws", f"{metrics['elbo']:.2f}"),
        (f"log p(x), {SAMPLES} importance samples",
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
    """Images in rows, small ones enlarged."""
    return image_grid(enlarged(images), columns, gap=gap)
