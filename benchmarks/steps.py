"""What is timed: whole training steps of networks from ``minidl.models``.

A step is zero_grad, loss, backward and a step of Adam, on one batch that stays
in memory. The rival networks are written in torch.nn in ``rival.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import minidl
from minidl import nn
from minidl.models.autoencoder import conv_autoencoder, mlp_autoencoder
from minidl.models.vae import mlp_vae

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Step:
    """One training step of one network.

    Attributes
    ----------
    name : str
        What ``--only`` takes, and the rival's name in ``rival.NETWORKS``.
    network : function
        Makes the network, whose ``loss(x)`` is a number.
    batch : shape (N, C, H, W)
    predicted : float
        The expected ratio, written before measuring.
    """

    name: str
    network: Callable[[], nn.Module]
    batch: tuple[int, int, int, int]
    predicted: float

    layout = "NCHW"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The sizes that are reported."""
        return {"x": self.batch}

    def initialised(self) -> nn.Module:
        """The network with its first weights: the same at every call."""
        minidl.manual_seed(0)
        return self.network()

    def weights(self) -> list[np.ndarray]:
        """The first weights, in the order of the layers."""
        return [p.data for p in self.initialised().parameters()]

    def pixels(self) -> np.ndarray:
        """The batch: numbers between 0 and 1, as pixels are."""
        return np.random.default_rng(0).random(self.batch, np.float32)


STEPS = [
    Step("mlp-autoencoder-step", lambda: mlp_autoencoder((1, 28, 28)), (128, 1, 28, 28), 1.8),
    Step(
        "conv-autoencoder-step",
        lambda: conv_autoencoder((1, 28, 28), channels=(16, 32)),
        (128, 1, 28, 28),
        2.5,
    ),
    Step("mlp-vae-step", lambda: mlp_vae((1, 28, 28), latent=20), (100, 1, 28, 28), 1.6),
]
