"""The demo's experiment: two autoencoders and two VAEs, trained on the same digits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl import nn, random
from minidl.lecture.digits import Digits
from minidl.lecture.runs import train
from minidl.models.autoencoder import Autoencoder, mlp_autoencoder
from minidl.models.vae import VAE, mlp_vae
from minidl.train import History

PLANE_LATENTS = 2
"""Number of latents of the models whose codes are drawn."""

LATENTS = 10
"""Number of latents of the models that are measured."""


@dataclass(frozen=True)
class Trained:
    """A trained model, its history, and the seconds that its training took."""

    name: str
    model: Any
    history: History
    seconds: float


@dataclass(frozen=True)
class Experiment:
    """The demo's four models: with two latents, and with ten."""

    autoencoder_plane: Trained
    vae_plane: Trained
    autoencoder: Trained
    vae: Trained

    def all(self) -> list[Trained]:
        """Return the four, in the order in which they were trained."""
        return [self.autoencoder_plane, self.vae_plane, self.autoencoder, self.vae]


@dataclass(frozen=True)
class Recipe:
    """The settings that depend on the data: sizes of networks and length of training."""

    plane_hidden: tuple[int, ...]
    """Hidden units of the models with two latents: more, as a plane has to bend a lot."""
    hidden: tuple[int, ...]
    """Hidden units of the models with ten latents."""
    epochs: int
    """Number of passes over the training images."""
    batch_size: int
    """Number of images a step."""


RECIPES = {
    "digits": Recipe((128, 64), (256,), 150, 50),
    "mnist": Recipe((300, 200, 100), (400,), 25, 100),
}
"""The settings for each choice of ``--data``."""


def run_experiment(
    digits: Digits,
    recipe: Recipe,
    seed: int,
    out: Path,
    resume: bool = False,
    device: str = "cpu",
    report: Callable[[Trained], Any] = lambda trained: None,
) -> Experiment:
    """Train the four models, telling ``report`` of each as it is done.

    Each starts from the seed anew, so that none depends on the others.
    """

    def trained(name: str, build: Callable[[], Autoencoder | VAE]) -> Trained:
        start = time.perf_counter()
        random.manual_seed(seed)
        model = build().to(device)
        history = train(
            model,
            digits,
            recipe.epochs,
            seed=seed,
            batch_size=recipe.batch_size,
            out=out / name,
            resume=resume,
        )
        result = Trained(name, model.eval(), history, time.perf_counter() - start)
        report(result)
        return result

    def autoencoder(latent: int, hidden: tuple[int, ...]) -> Autoencoder:
        return mlp_autoencoder(digits.image, latent, hidden, nn.ReLU)

    def vae(latent: int, hidden: tuple[int, ...]) -> VAE:
        return mlp_vae(digits.image, latent, hidden, trials=digits.trials, activation=nn.ReLU)

    return Experiment(
        trained("autoencoder-2", lambda: autoencoder(PLANE_LATENTS, recipe.plane_hidden)),
        trained("vae-2", lambda: vae(PLANE_LATENTS, recipe.plane_hidden)),
        trained("autoencoder-10", lambda: autoencoder(LATENTS, recipe.hidden)),
        trained("vae-10", lambda: vae(LATENTS, recipe.hidden)),
    )
