"""Training as the lecture's examples do it, and the numbers they leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minidl import Tensor, no_grad
from minidl.data import ArrayDataset, DataLoader
from minidl.files.serialize import write_json
from minidl.lecture.digits import Digits
from minidl.models.autoencoder import Autoencoder
from minidl.models.vae import VAE
from minidl.nn.conversion import beside
from minidl.optim import Adam
from minidl.train import History, fit


def train(
    model: Autoencoder | VAE,
    digits: Digits,
    epochs: int,
    *,
    seed: int = 0,
    lr: float = 1e-3,
    batch_size: int = 50,
    loss: Callable[[Any, Any], Tensor] | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> History:
    """Train on the training images with Adam, measuring the loss on the test images.

    It trains where the model is: ``model.to("cuda")`` first, for a GPU.

    Parameters
    ----------
    model : Autoencoder or VAE
        Its ``loss(x)`` is minimised, unless ``loss(model, batch)`` is given.
    epochs : int
    out : Path, optional
        Folder of checkpoints and metrics; with ``resume`` the run goes on from there.

    Returns
    -------
    History
        Per epoch: ``loss`` and ``test_loss``, in nats per image.
    """
    loader = DataLoader(
        ArrayDataset(digits.train_images), batch_size, shuffle=True, drop_last=True, seed=seed,
        device=beside(model, digits.test_images[:0]).device,
    )

    def validate(model: Any) -> dict[str, float]:
        return {"test_loss": mean_loss(model, digits.test_images)}

    return fit(
        model,
        loader,
        Adam(model.parameters(), lr=lr),
        loss or (lambda model, batch: model.loss(batch[0])),
        epochs=epochs,
        validate=validate,
        out=out,
        resume=resume,
    )


def mean_loss(model: Any, images: np.ndarray, batch: int = 500) -> float:
    """Average ``model.loss`` over all images, in nats per image."""
    with no_grad():
        parts = [images[i : i + batch] for i in range(0, len(images), batch)]
        return sum(model.loss(beside(model, x)).item() * len(x) for x in parts) / len(images)


def write_metrics(out: Path, metrics: dict[str, Any]) -> Path:
    """Save an example's numbers as ``metrics.json`` in its folder."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "metrics.json"
    write_json(path, metrics)
    return path
