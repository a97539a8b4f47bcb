"""Autoencoders: squeeze an image through a bottleneck and ask for it back.

    encode   x (N, C, H, W) -> z (N, Z)
    decode   z (N, Z)       -> x in [0, 1], (N, C, H, W)

Nothing but the reconstruction is asked for, so what z means is left to the
network. The smallest one, two linear maps, finds the same plane as PCA.

Sources: Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with
neural networks" (deep, fully connected); Vincent et al. 2008, "Extracting and
composing robust features with denoising autoencoders", section 2.3 (denoising).
The layer sizes are options; the defaults are ours, chosen for small digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import minidl.functional as F
from minidl import Tensor, nn
from minidl.errors import ArgumentError, message


class Autoencoder(nn.Module):
    """An encoder and a decoder, trained together.

    Parameters
    ----------
    encoder : Module
        (N, C, H, W) -> (N, Z).
    decoder : Module
        (N, Z) -> logits of the pixels, (N, C, H, W).
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> Tensor:
        """The code z of each image, (N, C, H, W) -> (N, Z)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """The image of each code, pixels in [0, 1], (N, Z) -> (N, C, H, W)."""
        return F.sigmoid(self.decoder(z))

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of each image."""
        return self.decode(self.encode(x))

    def loss(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        """Cross-entropy of the reconstruction, summed over pixels, mean over images, in nats.

        ``target`` is x itself unless x was corrupted: a denoising autoencoder
        sees the corrupted image and is asked for the clean one.
        """
        clean = x if target is None else target
        logits = self.decoder(self.encoder(x))
        total = F.binary_cross_entropy_with_logits(logits, clean, reduction="sum")
        return total / x.shape[0]


def mlp_encoder(
    pixels: int, hidden: Sequence[int], features: int, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    """An encoder: images flattened, then hidden layers, then a linear layer to ``features``."""
    layers: list[nn.Module] = [nn.Flatten()]
    for size in hidden:
        layers += [nn.Linear(pixels, size), activation()]
        pixels = size
    return nn.Sequential(*layers, nn.Linear(pixels, features))


def mlp_decoder(
    latent: int,
    hidden: Sequence[int],
    image: tuple[int, int, int],
    activation: Callable[[], nn.Module],
) -> nn.Sequential:
    """A decoder: hidden layers, then one logit per pixel, shaped as images."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(latent, size), activation()]
        latent = size
    return nn.Sequential(*layers, nn.Linear(latent, math.prod(image)), nn.Unflatten(1, image))


def conv_encoder(
    image: tuple[int, int, int], channels: Sequence[int], features: int
) -> nn.Sequential:
    """An encoder: 3x3 convolutions of stride 2, each halving H and W, then a linear layer."""
    c = image[0]
    smallest = _halved(image, len(channels))
    layers: list[nn.Module] = []
    for size in channels:
        layers += [nn.Conv2d(c, size, 3, stride=2, padding=1), nn.ReLU()]
        c = size
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(c * math.prod(smallest), features))


def conv_decoder(
    latent: int, channels: Sequence[int], image: tuple[int, int, int]
) -> nn.Sequential:
    """The encoder's mirror: a linear layer, then 4x4 transposed convolutions of stride 2.

    A kernel of 4 is a multiple of the stride, so every output pixel is reached
    by the same number of taps and no checkerboard is built in.
    """
    h, w = _halved(image, len(channels))
    mirrored = [*reversed(channels)]
    layers: list[nn.Module] = [
        nn.Linear(latent, mirrored[0] * h * w),
        nn.ReLU(),
        nn.Unflatten(1, (mirrored[0], h, w)),
    ]
    for c, size in zip(mirrored, [*mirrored[1:], image[0]], strict=True):
        layers += [nn.ConvTranspose2d(c, size, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _halved(image: tuple[int, int, int], times: int) -> tuple[int, int]:
    _, h, w = image
    if h % 2**times or w % 2**times:
        raise ArgumentError(
            message(
                f"conv autoencoder: {times} layers halve the image {times} times",
                f"the image has (H, W) = {(h, w)}",
                hint=f"pad it to multiples of {2**times}, or use fewer layers.",
            )
        )
    return h // 2**times, w // 2**times


def mlp_autoencoder(
    image: tuple[int, int, int],
    latent: int = 2,
    hidden: Sequence[int] = (256, 64),
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> Autoencoder:
    """A fully connected autoencoder; ``hidden=()`` leaves the two linear layers.

    Parameters
    ----------
    image : (C, H, W)
    latent : int
        Z, the size of the bottleneck.
    hidden : sequence of int
        Units of the encoder's hidden layers; the decoder mirrors them.
    """
    return Autoencoder(
        mlp_encoder(math.prod(image), hidden, latent, activation),
        mlp_decoder(latent, [*reversed(hidden)], image, activation),
    )


def conv_autoencoder(
    image: tuple[int, int, int], latent: int = 2, channels: Sequence[int] = (16, 32)
) -> Autoencoder:
    """A convolutional autoencoder; every entry of ``channels`` halves the image.

    Parameters
    ----------
    image : (C, H, W)
        H and W must be divisible by 2 ** len(channels).
    """
    return Autoencoder(
        conv_encoder(image, channels, latent), conv_decoder(latent, channels, image)
    )
