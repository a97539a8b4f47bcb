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

PLANE, LATENTS = 2, 10
"""Latents of the models that are drawn on paper, and of those that are measured."""


@dataclass(frozen=True)
class Trained:
    """A trained model and how it got there."""

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
        """The four, in the order in which they were trained."""
        return [self.autoencoder_plane, self.vae_plane, self.autoencoder, self.vae]


@dataclass(frozen=True)
class Recipe:
    """What depends on the data: the size of the networks and the length of training."""

    bent: tuple[int, ...]
    """Hidden layers of the models with two latents: a plane has to be bent a lot."""
    hidden: tuple[int, ...]
    """Hidden layers of the models with ten."""
    epochs: int
    batch_size: int


RECIPES = {
    "digits": Recipe((128, 64), (256,), 150, 50),
    "mnist": Recipe((300, 200, 100), (400,), 25, 100),
}


def run(
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
        trained("autoencoder-2", lambda: autoencoder(PLANE, recipe.bent)),
        trained("vae-2", lambda: vae(PLANE, recipe.bent)),
        trained("autoencoder-10", lambda: autoencoder(LATENTS, recipe.hidden)),
        trained("vae-10", lambda: vae(LATENTS, recipe.hidden)),
    )
